#pragma once
// Moving values without touching them.

#include <cstdint>

namespace pare::kernels {

/// y[i] = x[i * stride]
void gather_strided(const float* x, int64_t stride, float* y, int64_t n) noexcept;

/// y[r, i] = x[r, from[i]], rows of n; 0 <= from[i] < n
void gather_columns(const float* x, const int32_t* from, float* y, int64_t rows,
                    int64_t n) noexcept;

/// y[j * y_stride + i] = x[i * x_stride + j]
void transpose(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* y,
               int64_t y_stride) noexcept;

}  // namespace pare::kernels
