#pragma once
// Uniform quantization and back, with its straight-through gradient and the sums that learned
// scales, zero points and clipping levels need, in one pass.
//
//   t = x / s,  u = round(t) + z  or, shift_first, round(t + z)
//   y = s (clamp(u, lo, hi) - z)
//   inside: lo <= u <= hi and min <= x <= max;  below and above are the two sides of it
//   dx = dy 1[inside]
//   sums: inside = sum dy (u - z - t),  below = sum dy,  above = sum dy, each over its part

#include <cstdint>
#include <limits>

#include "core/kernels/pointwise.h"

namespace pare {

/// What a run of values with one scale is quantized by. scale > 0; zero is an integer.
struct FakeQuant {
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();

  float scale = 1, zero = 0;
  float lo = 0, hi = 255;                   // codes
  float min = -kInfinity, max = kInfinity;  // where gradients pass, besides
  Rounding rounding = Rounding::half_even;
  bool shift_first = false;
};

namespace kernels {

/// q with min and max such that inside is min <= x <= max and nothing else, to the last bit.
FakeQuant windowed(FakeQuant q) noexcept;

struct FakeQuantSums {
  double inside = 0, below = 0, above = 0;
};

/// In place allowed.
void fake_quant(const FakeQuant& q, const float* x, float* y, int64_t n) noexcept;
/// dx = dy allowed; dx may be null. The sums are short float sums per lane: cut long runs. Who does
/// not want them passes gradients through the window, as clamp does. Here and in all gradients
/// below, min and max must be the window.
FakeQuantSums fake_quant_grad(const FakeQuant& q, const float* x, const float* dy, float* dx,
                              int64_t n) noexcept;

/// A scale, a zero point and a window per channel, x [rows, channels]; q's own are not used.
/// Without gradients of the sums, `sums` is null; else [3, channels]: inside, below, above.
struct FakeQuantColumns {
  FakeQuant q;
  const float *scale, *zero;                   // [channels]
  const float *min = nullptr, *max = nullptr;  // likewise; only gradients look at them
};
void fake_quant_columns(const FakeQuantColumns& q, const float* x, float* y, int64_t rows,
                        int64_t channels) noexcept;
void fake_quant_columns_grad(const FakeQuantColumns& q, const float* x, const float* dy, float* dx,
                             int64_t rows, int64_t channels, float* sums) noexcept;

}  // namespace kernels
}  // namespace pare
