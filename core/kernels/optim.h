#pragma once
// One pass over a parameter, its gradient and its moments: the inner loops of the optimizers.

#include <cstdint>

namespace pare::kernels {

/// g' = g + decay p
/// v  = keep v + take g'                    (v may be null: no momentum)
/// p -= lr (nesterov ? g' + momentum v : v)
struct SgdStep {
  float lr, momentum, keep, take, decay;
  bool nesterov;
};
void sgd(const SgdStep& s, float* p, const float* g, float* v, int64_t n) noexcept;

/// p  = shrink p;  g' = g + decay p
/// m += take1 (g' - m);  v = keep2 v + take2 g'^2
/// p -= rate m / (sqrt(v) / correction + eps)
struct AdamStep {
  float shrink, decay, take1, keep2, take2, rate, correction, eps;
};
void adam(const AdamStep& s, float* p, const float* g, float* m, float* v, int64_t n) noexcept;

/// y += t (x - y)
void lerp(float t, const float* x, float* y, int64_t n) noexcept;

/// sum x^2, lanes in float32: meant for a few thousand values at a time.
float sum_squares(const float* x, int64_t n) noexcept;

}  // namespace pare::kernels
