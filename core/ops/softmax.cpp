// Over the last axis.
//   softmax      dx = y (dy - sum dy y)
//   log_softmax  dx = dy - e^y sum dy

#include "core/kernels/softmax.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops.h"
#include "core/ops/common.h"
#include "core/ops/show.h"

namespace pare {

namespace {

/// f(first row, number of rows) over the rows of the last axis.
template <class F>
void for_rows(const Tensor& x, F&& f) {
  const int64_t n = x.dim(-1);
  // An exponential costs about as much as eight cheap elements.
  if (n > 0)
    parallel_for(x.numel() / n, rows_per_task(8 * n), [&](Range r) { f(r.begin, r.size()); });
}

}  // namespace

Tensor softmax(const Tensor& x) {
  const int64_t n = x.dim(-1);
  Tensor y = Tensor::uninit(x.shape());
  const float* px = x.data();
  float* py = y.data();
  for_rows(x, [&](int64_t r, int64_t rows) { kernels::softmax(px + r * n, py + r * n, rows, n); });

  return record("softmax", y, {x}, [n, y = y.detach()](const Tensor& dy, Needs) -> Grads {
    Tensor dx = reuse(dy);
    const float *p = y.data(), *g = dy.data();
    float* to = dx.data();
    for_rows(dy, [&](int64_t r, int64_t rows) {
      kernels::softmax_grad(p + r * n, g + r * n, to + r * n, rows, n);
    });
    return {dx};
  });
}

Tensor log_softmax(const Tensor& x) {
  const int64_t n = x.dim(-1);
  Tensor y = Tensor::uninit(x.shape());
  const float* px = x.data();
  float* py = y.data();
  for_rows(x,
           [&](int64_t r, int64_t rows) { kernels::log_softmax(px + r * n, py + r * n, rows, n); });

  return record("log_softmax", y, {x}, [n, y = y.detach()](const Tensor& dy, Needs) -> Grads {
    Tensor dx = reuse(dy);
    const float *p = y.data(), *g = dy.data();
    float* to = dx.data();
    for_rows(dy, [&](int64_t r, int64_t rows) {
      kernels::log_softmax_grad(p + r * n, g + r * n, to + r * n, rows, n);
    });
    return {dx};
  });
}

}  // namespace pare
