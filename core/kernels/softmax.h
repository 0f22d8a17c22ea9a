#pragma once
// Softmax, its logarithm and cross entropy over rows of n classes; maxima are subtracted first.

#include <cstdint>

namespace pare::kernels {

/// y = e^(x - max) / sum e^(x - max)
void softmax(const float* x, float* y, int64_t rows, int64_t n) noexcept;
/// dx = y (dy - sum dy y)
void softmax_grad(const float* y, const float* dy, float* dx, int64_t rows, int64_t n) noexcept;

/// y = x - max - log sum e^(x - max)
void log_softmax(const float* x, float* y, int64_t rows, int64_t n) noexcept;
/// dx = dy - e^y sum dy
void log_softmax_grad(const float* y, const float* dy, float* dx, int64_t rows, int64_t n) noexcept;

/// What the rows should have been: class indices [rows] or probabilities [rows, n], both smoothed
/// to t = (1 - smoothing) target + smoothing / n.
struct Targets {
  const float* values;
  bool probabilities;
  float smoothing;
};
/// loss[r] = -sum_c t[c] log softmax(z)[c];  dz = softmax(z) sum t - t, if dz is not null.
void cross_entropy(const float* z, const Targets& targets, float* loss, float* dz, int64_t rows,
                   int64_t n) noexcept;

}  // namespace pare::kernels
