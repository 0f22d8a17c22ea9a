#pragma once
// Sums and maxima along rows and down columns.
//
// Sums are accurate: blocks of a few thousand values (a few dozen rows) in float, blocks added up
// in double along rows and one level higher down columns. NaN is larger than everything, so that a
// maximum shows it.

#include <cstdint>

namespace pare::kernels {

/// sum x[i]
double sum(const float* x, int64_t n) noexcept;
/// sum (x[i] - center)^2
double sum_squares(const float* x, float center, int64_t n) noexcept;
/// sum (a[i] - b[i])^2
double sum_squared_difference(const float* a, const float* b, int64_t n) noexcept;

/// y[i] = sum_r x[r * stride + i]
void sum_columns(const float* x, int64_t rows, int64_t stride, int64_t n, float* y) noexcept;
/// y[i] = sum_r (x[r * stride + i] - center[i])^2
void sum_squares_columns(const float* x, const float* center, int64_t rows, int64_t stride,
                         int64_t n, float* y) noexcept;

struct Maximum {
  float value;
  int64_t index;  // of the first one
};
/// n >= 1
Maximum max(const float* x, int64_t n) noexcept;
/// y[i] = max_r x[r * stride + i], index[i] the first r that has it; rows >= 1
void max_columns(const float* x, int64_t rows, int64_t stride, int64_t n, float* y,
                 int32_t* index) noexcept;

}  // namespace pare::kernels
