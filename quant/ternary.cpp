#include "quant/ternary.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/grid.h"
#include "quant/binary.h"
#include "quant/rows.h"

namespace pare::quant {

namespace {

// t of one row into `out`; `last` is the row's memory or null. Returns alpha, 0 for a row of zeros.
float ternary_row(const float* w, const float* last, float* out, int64_t n,
                  const TernaryWeightOptions& o) {
  const float delta = o.threshold * mean_abs(w, n), low = o.gap * delta;
  if (std::isnan(delta)) {  // comparisons would turn a broken weight into clean zeros
    std::fill(out, out + n, delta);
    return 1.0f;
  }
  int64_t kept = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(w[i]), direction = w[i] < 0 ? -1.0f : 1.0f;
    const bool above = magnitude > delta;
    const bool stays = last && magnitude > low && last[i] == direction;
    out[i] = above || stays ? direction : 0.0f;
    kept += above || stays;
  }
  if (kept == 0) return 0.0f;
  const double sum = sum_over(n, [&](int64_t i) { return out[i] * w[i]; });
  return static_cast<float>(sum / static_cast<double>(kept));
}

// dw_i = alpha g_i + t_i / n sum_j g_j t_j of one row of y = alpha t.
void ternary_row_grad(const float* y, const float* g, float* dw, int64_t n) {
  const auto sign_of = [y](int64_t i) { return static_cast<float>((y[i] > 0) - (y[i] < 0)); };
  float alpha = 0;
  int64_t kept = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (y[i] == 0) continue;
    alpha = std::fabs(y[i]);
    ++kept;
  }
  const double sum = sum_over(n, [&](int64_t i) { return g[i] * sign_of(i); });
  const float shared = kept ? static_cast<float>(sum / static_cast<double>(kept)) : 0.0f;
  const float scale = kept ? alpha : 1.0f;
  for (int64_t i = 0; i < n; ++i) dw[i] = scale * g[i] + sign_of(i) * shared;
}

}  // namespace

TernaryWeight::TernaryWeight(const TernaryWeightOptions& options) : TernaryWeight(options, {}) {}

TernaryWeight::TernaryWeight(const TernaryWeightOptions& options, const Shape& weight)
    : opt(options) {
  PARE_CHECK(opt.threshold >= 0, "ternary weight: threshold must be >= 0, got ", opt.threshold);
  PARE_CHECK(opt.gap >= 0 && opt.gap < 1, "ternary weight: gap must be in [0, 1), got ", opt.gap);
  PARE_CHECK(opt.gap == 0 || weight.dims() > 0,
             "ternary weight: a gap needs memory, so the weight's shape must be given");
  if (opt.gap > 0) last = Tensor::zeros(weight);
}

Tensor TernaryWeight::quantize(const Tensor& w) {
  const Rows rows("ternary weight", w, opt.per_layer);
  PARE_CHECK(!last || last.shape() == w.shape(), "ternary weight: made for ",
             last ? last.shape().str() : "", ", got ", w.shape());
  Tensor y = Tensor::uninit(w.shape());
  const float* from = w.data();
  float *to = y.data(), *memory = last ? last.data() : nullptr;
  std::vector<float> steps(static_cast<size_t>(rows.count), 1.0f);
  parallel_for(rows.count, rows.grain(), [&](Range r) {
    for (int64_t k = r.begin; k < r.end; ++k) {
      const int64_t at = k * rows.length;
      float *out = to + at, *kept = memory ? memory + at : nullptr;
      const float alpha = ternary_row(from + at, kept, out, rows.length, opt);
      if (kept && training) std::copy(out, out + rows.length, kept);
      if (!opt.alpha) continue;
      steps[static_cast<size_t>(k)] = alpha;
      for (int64_t i = 0; i < rows.length; ++i) out[i] *= alpha;
    }
  });
  y.set_grid(integer_grid(-1, 1, std::move(steps)));

  // y is all we keep: t is its sign and alpha its magnitude.
  return record("ternary_weight", y, {w},
                [y = y.detach(), rows, alpha = opt.alpha](const Tensor& dy, Needs) -> Grads {
                  if (!alpha) return {dy};
                  Tensor dw = Tensor::uninit(dy.shape());
                  const float *value = y.data(), *grad = dy.data();
                  float* out = dw.data();
                  parallel_for(rows.count, rows.grain(), [&](Range r) {
                    for (int64_t k = r.begin; k < r.end; ++k) {
                      const int64_t at = k * rows.length;
                      ternary_row_grad(value + at, grad + at, out + at, rows.length);
                    }
                  });
                  return {dw};
                });
}

nn::Codes TernaryWeight::codes_for(const Tensor& y) const {
  const bool whole = opt.per_layer || !opt.alpha;
  const std::vector<float> scales = row_scales(Rows("ternary weight", y, whole), y);
  return {.kind = nn::Codes::Kind::ternary,
          .bits = 2,
          .lo = -1,
          .hi = 1,
          .share = whole ? QuantShare::tensor : QuantShare::filter,
          .scale = scales,
          .zero = std::vector<float>(scales.size())};
}

std::string TernaryWeight::describe() const {
  return str("TernaryWeight(", opt.per_layer ? "per layer" : "per filter",
             ", threshold=", opt.threshold, opt.alpha ? ", alpha" : "",
             opt.gap > 0 ? str(", gap=", opt.gap) : std::string{}, ")");
}

TernaryActivation::TernaryActivation(Ste rule, float delta) : ste(rule), threshold(delta) {
  PARE_CHECK(delta >= 0 && delta < 1, "ternary activation: threshold must be in [0, 1), got ",
             delta);
}

Tensor TernaryActivation::quantize(const Tensor& x) {
  return pointwise({.kind = Pointwise::Kind::ternary, .ste = ste, .a = threshold}, x);
}

nn::Codes TernaryActivation::codes_for(const Tensor&) const {
  return {.kind = nn::Codes::Kind::ternary, .bits = 2, .lo = -1, .hi = 1, .threshold = threshold};
}

std::string TernaryActivation::describe() const {
  return str("TernaryActivation(ste=", ste_name(ste), ", threshold=", threshold, ")");
}

}  // namespace pare::quant
