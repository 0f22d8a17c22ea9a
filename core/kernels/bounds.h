#pragma once
// Smallest and largest values: what ranges of quantizers are made of. A NaN makes both NaN.

#include <cstdint>

namespace pare::kernels {

struct Bounds {
  float min, max;
};
/// n >= 1
Bounds bounds(const float* x, int64_t n) noexcept;
/// Of each column of x [rows, channels]; rows >= 1.
void bounds_columns(const float* x, int64_t rows, int64_t channels, float* min,
                    float* max) noexcept;

}  // namespace pare::kernels
