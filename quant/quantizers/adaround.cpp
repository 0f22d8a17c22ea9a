#include "quant/adaround.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "core/parallel.h"

namespace pare::quant {

namespace {

// The stretched sigmoid of section 3.3: it reaches 0 and 1 with a finite v.
constexpr float kStretch = 1.2f, kShift = -0.1f;

/// Codes of a weight, group by group: f(element, scale, zero).
template <class F>
void for_each_weight(const AdaRound& q, int64_t n, F&& f) {
  const float* scale = q.scale.data();
  const float* zero = q.zero ? q.zero.data() : nullptr;
  const int64_t each = n / q.groups;
  parallel_for(q.groups, std::max<int64_t>(1, kGrain / each), [&](Range r) {
    for (int64_t g = r.begin; g < r.end; ++g) {
      for (int64_t i = g * each; i < (g + 1) * each; ++i) f(i, scale[g], zero ? zero[g] : 0.0f);
    }
  });
}

/// sum (1 - |2 h - 1|^beta) over [0, n),  dh = -dy 2 beta |2 h - 1|^(beta - 1) sign(2 h - 1)
Tensor sum_indecision(const Tensor& h, float beta) {
  double total = 0;
  for (float v : h.span()) total += 1.0 - std::pow(std::fabs(2.0 * v - 1.0), double{beta});
  return record("indecision", Tensor::scalar(static_cast<float>(total)), {h},
                [h = h.detach(), beta](const Tensor& dy, Needs) -> Grads {
                  Tensor dh = Tensor::uninit(h.shape());
                  const float *from = h.data(), g = dy.item();
                  float* to = dh.data();
                  parallel_for(h.numel(), kGrain / 8, [&](Range r) {
                    for (int64_t i = r.begin; i < r.end; ++i) {
                      const float t = 2 * from[i] - 1;
                      to[i] = -g * 2 * beta * std::pow(std::fabs(t), beta - 1) *
                              static_cast<float>((t > 0) - (t < 0));
                    }
                  });
                  return {dh};
                });
}

}  // namespace

AdaRound::AdaRound(const QuantizerSpec& spec, const Site& site)
    : GridQuantizer(spec, site),
      round(Tensor::zeros(site.weight).requires_grad_()),
      scale(Tensor::ones({groups})) {
  if (affine()) zero = Tensor::zeros({groups});
}

void AdaRound::visit(nn::Visitor& v) {
  v("round", round).buffer("scale", scale);
  if (zero) v.buffer("zero", zero);
  GridQuantizer::visit(v);
}

void AdaRound::observe(const Tensor& w) {
  PARE_CHECK(w.shape() == round.shape(), "adaround: made for a weight ", round.shape(), ", got ",
             w.shape());
  observed_ = w.detach();
  GridQuantizer::observe(w);
}

std::vector<ScaleZero> AdaRound::parameters() const {
  std::vector<ScaleZero> all;
  for (int64_t g = 0; g < groups; ++g) {
    all.push_back({scale.data()[g], zero ? zero.data()[g] : 0.0f});
  }
  return all;
}

void AdaRound::set_ranges(const Observer& observer) {
  const std::vector<Interval> ranges = observer.ranges({grid(), affine()});
  for (int64_t g = 0; g < groups; ++g) {
    const ScaleZero p = fit(ranges[static_cast<size_t>(g)], grid(), affine());
    scale.data()[g] = p.scale;
    if (zero) zero.data()[g] = p.zero;
  }
  const float* w = observed_.data();
  float* v = round.data();
  for_each_weight(*this, round.numel(), [&](int64_t i, float s, float) {
    const float fraction = w[i] / s - std::floor(w[i] / s);
    v[i] = -std::log(kStretch / (fraction - kShift) - 1);  // finite for every fraction in [0, 1]
  });
  observed_ = {};
}

Tensor AdaRound::soft_up() const { return clamp(sigmoid(round) * kStretch + kShift, 0, 1); }

Tensor AdaRound::assemble(const Tensor& w, const Tensor& up) const {
  PARE_CHECK(w.shape() == round.shape(), "adaround: made for a weight ", round.shape(), ", got ",
             w.shape());
  const Grid g = grid();
  Tensor y = Tensor::uninit(w.shape()), inside = Tensor::uninit(w.shape());  // s or 0
  const float *from = w.data(), *h = up.data();
  float *to = y.data(), *in = inside.data();
  for_each_weight(*this, w.numel(), [&](int64_t i, float s, float z) {
    const float code = std::floor(from[i] / s) + h[i] + z;
    to[i] = s * (std::clamp(code, g.lo, g.hi) - z);
    in[i] = code >= g.lo && code <= g.hi ? s : 0.0f;
  });
  return record("adaround", y, {w, up}, [inside](const Tensor& dy, Needs need) -> Grads {
    Grads grads(2);
    const float *g_y = dy.data(), *s = inside.data();
    for (size_t k = 0; k < 2; ++k) {
      if (!need[k]) continue;
      grads[k] = Tensor::uninit(dy.shape());
      float* out = grads[k].data();
      parallel_for(dy.numel(), kGrain, [&](Range r) {
        for (int64_t i = r.begin; i < r.end; ++i) {
          out[i] = k == 1 ? g_y[i] * s[i] : s[i] > 0 ? g_y[i] : 0.0f;
        }
      });
    }
    return grads;
  });
}

Tensor AdaRound::hard(const Tensor& w) const {
  Tensor up = Tensor::uninit(round.shape());
  for (int64_t i = 0; i < up.numel(); ++i) up.data()[i] = round.data()[i] >= 0 ? 1.0f : 0.0f;
  return assemble(w, up);
}

Tensor AdaRound::apply(const Tensor& w) { return training ? assemble(w, soft_up()) : hard(w); }

Tensor AdaRound::indecision(float beta) const { return sum_indecision(soft_up(), beta); }

namespace parts {
QuantizerInfo adaround() {
  const auto options = [](Role) -> std::vector<Option> {
    return {coding_option({"symmetric", "affine"}, {{"unsigned", "weights have both signs"},
                                                    {"auto", "weights have both signs"}}),
            per_option({"channel", "tensor"}), codes_option(), observer_option("minmax")};
  };
  return {.name = "adaround",
          .summary = "weights that learn to round up or down, arXiv:2004.10568",
          .no_activations = "it learns one decision per element, and activations come anew",
          .options = options,
          .refuse = narrow_needs_signs,
          .make = [](const QuantizerSpec& s, const Site& site) { return AdaRound(s, site); }};
}
}  // namespace parts

}  // namespace pare::quant
