#pragma once
// Layer normalization of rows of n features: y = gamma xhat + beta, xhat = (x - mean) / sqrt(var +
// eps).

#include <cstdint>

namespace pare::kernels {

struct RowStats {
  float mean, inv_std;
};

/// gamma and beta may be null (1 and 0).
void layer_norm(const float* x, const float* gamma, const float* beta, float eps, float* y,
                RowStats* stats, int64_t rows, int64_t n) noexcept;

/// With g = gamma dy:  dx = inv_std (g - mean(g) - xhat mean(g xhat)),
/// dgamma = sum_r dy xhat, dbeta = sum_r dy.   dx, dgamma and dbeta may be null.
void layer_norm_grad(const float* x, const float* gamma, const float* dy, const RowStats* stats,
                     float* dx, float* dgamma, float* dbeta, int64_t rows, int64_t n) noexcept;

}  // namespace pare::kernels
