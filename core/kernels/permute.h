#pragma once
// Moving values without touching them.

#include <cstdint>
#include <vector>

namespace pare::kernels {

/// y[i] = x[i * stride]
void gather_strided(const float* x, int64_t stride, float* y, int64_t n) noexcept;

/// The order of channel_shuffle: y[k groups + g] = x[g each + k].
struct Shuffle {
  Shuffle(int64_t groups, int64_t each);

  int64_t size() const { return groups * each; }
  Shuffle inverse() const { return {each, groups}; }

  int64_t groups, each;
  std::vector<int32_t> from;  // y[i] = x[from[i]]
};

/// Rows of x in that order; y must not be x.
void shuffle_columns(const Shuffle& s, const float* x, float* y, int64_t rows) noexcept;

/// y[j * y_stride + i] = x[i * x_stride + j]
void transpose(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* y,
               int64_t y_stride) noexcept;

}  // namespace pare::kernels
