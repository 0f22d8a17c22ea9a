#include "quant/binary.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/grid.h"
#include "quant/rows.h"

namespace pare::quant {

namespace {

// v = clamp(w - mean_in(w), -1, 1); v may be w. Each column is the input channels of one (out, kh,
// kw).
void prepare(const float* w, float* v, const Shape& shape, bool center, bool clamp) {
  const int64_t in = shape.dim(-1), columns = shape.numel() / in;
  parallel_for(columns, std::max<int64_t>(1, kGrain / in), [&](Range r) {
    for (int64_t c = r.begin; c < r.end; ++c) {
      const float* from = w + c * in;
      float* to = v + c * in;
      const double total = center ? sum_over(in, [from](int64_t i) { return from[i]; }) : 0.0;
      const float mean = static_cast<float>(total / static_cast<double>(in));
      for (int64_t i = 0; i < in; ++i) {
        const float x = from[i] - mean;
        to[i] = clamp ? std::clamp(x, -1.0f, 1.0f) : x;
      }
    }
  });
}

// sign(x) a, sign(0) = +1; NaN stays NaN, so that a broken weight is seen.
float sign_times(float x, float a) { return x >= 0 ? a : x < 0 ? -a : x; }

}  // namespace

Tensor binarize(const Tensor& w, const Tensor& v, bool alpha) {
  const Rows rows("binary weight", w);
  Tensor y = Tensor::uninit(w.shape());
  const float* from = v.data();
  float* to = y.data();
  std::vector<float> steps(static_cast<size_t>(rows.count));
  parallel_for(rows.count, rows.grain(), [&](Range r) {
    for (int64_t k = r.begin; k < r.end; ++k) {
      const float* x = from + k * rows.length;
      float* out = to + k * rows.length;
      const float a = alpha ? mean_abs(x, rows.length) : 1.0f;
      steps[static_cast<size_t>(k)] = a;
      for (int64_t i = 0; i < rows.length; ++i) out[i] = sign_times(x[i], a);
    }
  });

  y.set_grid(integer_grid(-1, 1, std::move(steps)));

  // y is all we keep: its sign bit is sign(v), its magnitude alpha.
  return record(
      "binary_weight", y, {w}, [y = y.detach(), rows, alpha](const Tensor& dy, Needs) -> Grads {
        if (!alpha) return {dy};
        Tensor dw = Tensor::uninit(dy.shape());
        const float *value = y.data(), *grad = dy.data();
        float* result = dw.data();
        parallel_for(rows.count, rows.grain(), [&](Range r) {
          for (int64_t k = r.begin; k < r.end; ++k) {
            const float *q = value + k * rows.length, *g = grad + k * rows.length;
            float* out = result + k * rows.length;
            const auto signed_g = [&](int64_t i) { return std::signbit(q[i]) ? -g[i] : g[i]; };
            const float a = std::fabs(q[0]);
            const float shared = static_cast<float>(sum_over(rows.length, signed_g) /
                                                    static_cast<double>(rows.length));
            for (int64_t i = 0; i < rows.length; ++i) {
              out[i] = a * g[i] + (std::signbit(q[i]) ? -shared : shared);
            }
          }
        });
        return {dw};
      });
}

Tensor BinaryWeight::quantize(const Tensor& w) {
  PARE_CHECK(w && w.dims() >= 2, "binary weight: needs [out, ..., in], got ",
             w ? w.shape().str() : "nothing");
  const int last = w.dims() - 1;
  const bool center = opt.center && w.dim(last) > 1;
  if (!center && !opt.clamp) return binarize(w, w.detach(), opt.alpha);
  if (!opt.in_place) {
    Tensor v = center ? w - mean(w, {last}, true) : w;
    if (opt.clamp) v = pare::clamp(v, -1.0f, 1.0f);
    return binarize(v, v.detach(), opt.alpha);
  }
  const bool stored = training && w.is_leaf() && w.requires_grad();
  Tensor v = stored ? w.detach() : Tensor::uninit(w.shape());
  prepare(w.data(), v.data(), w.shape(), center, opt.clamp);
  return binarize(w, v, opt.alpha);
}

nn::Codes BinaryWeight::codes_for(const Tensor& y) const {
  const Rows rows("binary weight", y, !opt.alpha);
  const std::vector<float> scales = row_scales(rows, y);
  return {.kind = nn::Codes::Kind::binary,
          .bits = 1,
          .lo = -1,
          .hi = 1,
          .spacing = 2,
          .share = opt.alpha ? QuantShare::filter : QuantShare::tensor,
          .scale = scales,
          .zero = std::vector<float>(scales.size())};
}

std::string BinaryWeight::describe() const {
  return str("BinaryWeight(", opt.center ? "center" : "as is", opt.clamp ? ", clamp" : "",
             opt.alpha ? ", alpha" : "", opt.in_place ? "" : ", pure", ")");
}

nn::Codes BinaryActivation::codes_for(const Tensor&) const {
  return {.kind = nn::Codes::Kind::binary, .bits = 1, .lo = -1, .hi = 1, .spacing = 2};
}

std::string BinaryActivation::describe() const {
  return str("BinaryActivation(ste=", ste_name(ste), ")");
}

const char* ste_name(Ste ste) {
  switch (ste) {
    case Ste::identity:
      return "identity";
    case Ste::clip:
      return "clip";
    case Ste::triangle:
      return "triangle";
    case Ste::poly:
      return "poly";
  }
  return "?";
}

}  // namespace pare::quant
