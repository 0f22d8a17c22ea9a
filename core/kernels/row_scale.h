#pragma once
// One number per row and group of columns: the mean of |x|, and rows multiplied by such numbers.
// A row is `groups` groups of `n` columns, one behind the other.

#include <cstdint>

namespace pare::kernels {

struct GroupedRows {
  int64_t rows, groups, n;
};

/// a[row, group] = sum |x| / n
void mean_abs(const GroupedRows& r, const float* x, float* a) noexcept;
/// dx = more + da[row, group] sign(x) / n, where sign(0) = 0; more may be dx, or null: zero
void mean_abs_grad(const GroupedRows& r, const float* x, const float* da, const float* more,
                   float* dx) noexcept;
/// y[row, group, i] = x[row, group, i] k[row, group]; y may be x
void scale_rows(const GroupedRows& r, const float* x, const float* k, float* y) noexcept;
/// From y = x k alone: dk[row, group] = sum over i of dy y / k, 0 where k = 0; dx = dy k, which may
/// be dy.
void scale_rows_grad(const GroupedRows& r, const float* y, const float* k, const float* dy,
                     float* dx, float* dk) noexcept;

}  // namespace pare::kernels
