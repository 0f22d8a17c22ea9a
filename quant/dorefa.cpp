#include "quant/dorefa.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/autograd.h"
#include "core/grid.h"
#include "quant/rows.h"

namespace pare::quant {

namespace {

int checked_bits(const char* op, int bits) {
  PARE_CHECK(bits >= 1 && bits <= 16, op, ": bits must be 1 to 16, got ", bits,
             hint("for 32 bits leave the socket empty"));
  return bits;
}

float levels(int bits) { return static_cast<float>((1 << bits) - 1); }

Rounding rounding_of(DorefaForm form) {
  return form == DorefaForm::paper ? Rounding::half_even : Rounding::half_away;
}

// Sums over rows, then over their results in order: the same bits for any number of threads.
template <class RowSum>
double sum_rows(const Rows& rows, RowSum&& row_sum) {
  std::vector<double> partial(static_cast<size_t>(rows.count));
  parallel_for(rows.count, rows.grain(), [&](Range r) {
    for (int64_t k = r.begin; k < r.end; ++k) partial[static_cast<size_t>(k)] = row_sum(k);
  });
  return sum_over(rows.count, [&](int64_t k) { return partial[static_cast<size_t>(k)]; });
}

// The first index where |t| is largest.
int64_t argmax_abs(const float* t, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i) {
    if (std::fabs(t[i]) > std::fabs(t[best])) best = i;
  }
  return best;
}

Tensor one_bit(const Tensor& w) {
  const Rows rows("dorefa weight", w);
  const float* x = w.data();
  const double total = sum_rows(rows, [&](int64_t k) {
    const float* row = x + k * rows.length;
    return sum_over(rows.length, [row](int64_t i) { return std::fabs(row[i]); });
  });
  const float e = static_cast<float>(total / static_cast<double>(w.numel()));
  Tensor y = Tensor::uninit(w.shape());
  float* out = y.data();
  parallel_for(w.numel(), kGrain, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) out[i] = x[i] >= 0 ? e : -e;
  });
  y.set_grid(integer_grid(-1, 1, {e}));
  return record("dorefa_weight", y, {w}, [](const Tensor& dy, Needs) -> Grads { return {dy}; });
}

// dw from dy; t = tanh(w), at = where |t| is largest, m = |t[at]| or 1 if all is zero.
Tensor many_bits_grad(const Tensor& t, const Tensor& dy, int64_t at, float m) {
  const Rows rows("dorefa weight", t);
  const float *th = t.data(), *g = dy.data();
  const double sum = sum_rows(rows, [&](int64_t k) {
    const float *a = g + k * rows.length, *b = th + k * rows.length;
    return sum_over(rows.length, [a, b](int64_t i) { return a[i] * b[i]; });
  });
  Tensor dw = Tensor::uninit(dy.shape());
  float* out = dw.data();
  parallel_for(dy.numel(), kGrain, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) out[i] = g[i] / m * (1.0f - th[i] * th[i]);
  });
  const double through_max = sum / (static_cast<double>(m) * m);
  const float peak = th[at];
  const double slope = 1.0 - static_cast<double>(peak) * peak;
  out[at] -= static_cast<float>((peak > 0 ? through_max : peak < 0 ? -through_max : 0.0) * slope);
  return dw;
}

Tensor many_bits(const Tensor& w, int bits, Rounding rounding) {
  PARE_CHECK(w && w.numel() > 0, "dorefa weight: the weight is empty");
  Tensor t = Tensor::uninit(w.shape()), y = Tensor::uninit(w.shape());
  const float* x = w.data();
  float *th = t.data(), *out = y.data();
  const Pointwise tanh_of{.kind = Pointwise::Kind::tanh};
  const Pointwise round_to{.kind = Pointwise::Kind::round, .rounding = rounding};
  parallel_for(w.numel(), kGrain,
               [&](Range r) { kernels::pointwise(tanh_of, x + r.begin, th + r.begin, r.size()); });
  const int64_t at = argmax_abs(th, w.numel());
  const float m = th[at] != 0 ? std::fabs(th[at]) : 1.0f;
  const float n = levels(bits);
  parallel_for(w.numel(), kGrain, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) out[i] = (th[i] / (2 * m) + 0.5f) * n;
    kernels::pointwise(round_to, out + r.begin, out + r.begin, r.size());
    for (int64_t i = r.begin; i < r.end; ++i) out[i] = 2 * (out[i] / n) - 1;
  });
  y.set_grid(integer_grid(-n, n, {1 / n}));  // y = (2 q - n) / n
  return record("dorefa_weight", y, {w}, [t, at, m](const Tensor& dy, Needs) -> Grads {
    return {many_bits_grad(t, dy, at, m)};
  });
}

}  // namespace

DorefaWeight::DorefaWeight(int bits, DorefaForm form)
    : bits_(checked_bits("dorefa weight", bits)), form_(form) {}

Tensor DorefaWeight::quantize(const Tensor& w) {
  return bits_ == 1 ? one_bit(w) : many_bits(w, bits_, rounding_of(form_));
}

nn::Codes DorefaWeight::codes_for(const Tensor& y) const {
  if (bits_ == 1) {
    return {.kind = nn::Codes::Kind::binary,
            .bits = 1,
            .lo = -1,
            .hi = 1,
            .spacing = 2,
            .scale = row_scales(Rows("dorefa weight", y, /*whole_layer=*/true), y)};
  }
  const float n = levels(bits_);  // y = (2 q - n) / n,  q = 0 .. n
  return {.bits = bits_, .lo = -n, .hi = n, .spacing = 2, .scale = {1 / n}};
}

std::string DorefaWeight::describe() const {
  return str("DorefaWeight(bits=", bits_, form_ == DorefaForm::paper ? "" : ", micronet", ")");
}

DorefaActivation::DorefaActivation(int bits, DorefaForm form, float prescale)
    : bits_(checked_bits("dorefa activation", bits)), form_(form) {
  PARE_CHECK(prescale >= 0, "dorefa activation: prescale must be positive, got ", prescale);
  const float usual = form == DorefaForm::paper ? 1.0f : 0.1f;
  f_ = {.kind = Pointwise::Kind::quantize,
        .rounding = rounding_of(form),
        .a = prescale > 0 ? prescale : usual,
        .b = levels(bits),
        .c = 1.0f};
}

nn::Codes DorefaActivation::codes_for(const Tensor&) const {
  const float n = levels(bits_);
  return {.bits = bits_,
          .lo = 0,
          .hi = n,
          .scale = {1 / n},
          .rounding = rounding_of(form_),
          .input_scale = f_.a};
}

std::string DorefaActivation::describe() const {
  return str("DorefaActivation(bits=", bits_, ", prescale=", f_.a,
             form_ == DorefaForm::paper ? "" : ", micronet", ")");
}

}  // namespace pare::quant
