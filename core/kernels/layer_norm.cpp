#include "core/kernels/highway.h"
//
#include <algorithm>
#include <cmath>

#include "core/kernels/layer_norm.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/layer_norm.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

HWY_INLINE RowStats StatsOf(const float* x, float eps, int64_t n) {
  const D d;
  const float count = static_cast<float>(n);
  const float mean = SumOver(
                         d, n, [](V v) HWY_ATTR { return v; }, x) /
                     count;
  const V m = hn::Set(d, mean);
  // The mean is known: no cancellation of E[x^2] - E[x]^2.
  const auto square = [&](V v) HWY_ATTR {
    const V delta = hn::Sub(v, m);
    return hn::Mul(delta, delta);
  };
  return {mean, 1.0f / std::sqrt(SumOver(d, n, square, x) / count + eps)};
}

void Forward(const float* x, const float* gamma, const float* beta, float eps, float* y,
             RowStats* stats, int64_t rows, int64_t n) {
  const D d;
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    stats[r] = StatsOf(x, eps, n);
    const V m = hn::Set(d, stats[r].mean), s = hn::Set(d, stats[r].inv_std);
    Map(
        d, y, n, [&](V v) HWY_ATTR { return hn::Mul(hn::Sub(v, m), s); }, x);
    if (gamma)
      Map(
          d, y, n, [](V v, V w) HWY_ATTR { return hn::Mul(v, w); }, y, gamma);
    if (beta)
      Map(
          d, y, n, [](V v, V b) HWY_ATTR { return hn::Add(v, b); }, y, beta);
  }
}

/// dx of one row; `scaled` holds gamma dy.
HWY_INLINE void InputRow(const float* x, const float* scaled, RowStats row, float* dx, int64_t n) {
  const D d;
  const V m = hn::Set(d, row.mean), s = hn::Set(d, row.inv_std);
  const auto xhat = [&](V v) HWY_ATTR { return hn::Mul(hn::Sub(v, m), s); };
  const float count = static_cast<float>(n);
  const V mean = hn::Set(d, SumOver(
                                d, n, [](V g) HWY_ATTR { return g; }, scaled) /
                                count);
  const float dot = SumOver(
      d, n, [&](V g, V v) HWY_ATTR { return hn::Mul(g, xhat(v)); }, scaled, x);
  const V slope = hn::Set(d, dot / count);
  Map(
      d, dx, n,
      [&](V g, V v)
          HWY_ATTR { return hn::Mul(s, hn::Sub(hn::Sub(g, mean), hn::Mul(xhat(v), slope))); },
      scaled, x);
}

void Backward(const float* x, const float* gamma, const float* dy, const RowStats* stats, float* dx,
              float* dgamma, float* dbeta, int64_t rows, int64_t n) {
  const D d;
  if (dgamma) std::fill(dgamma, dgamma + n, 0.0f);
  if (dbeta) std::fill(dbeta, dbeta + n, 0.0f);
  for (int64_t r = 0; r < rows; ++r, x += n, dy += n) {
    const V m = hn::Set(d, stats[r].mean), s = hn::Set(d, stats[r].inv_std);
    if (dgamma) {
      Map(
          d, dgamma, n,
          [&](V sum, V g, V v)
              HWY_ATTR { return hn::Add(sum, hn::Mul(g, hn::Mul(hn::Sub(v, m), s))); },
          dgamma, dy, x);
    }
    if (dbeta)
      Map(
          d, dbeta, n, [](V sum, V g) HWY_ATTR { return hn::Add(sum, g); }, dbeta, dy);
    if (!dx) continue;
    if (gamma)
      Map(
          d, dx, n, [](V g, V w) HWY_ATTR { return hn::Mul(g, w); }, dy, gamma);
    InputRow(x, gamma ? dx : dy, stats[r], dx, n);
    dx += n;
  }
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(Forward);
HWY_EXPORT(Backward);

void layer_norm(const float* x, const float* gamma, const float* beta, float eps, float* y,
                RowStats* stats, int64_t rows, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Forward)(x, gamma, beta, eps, y, stats, rows, n);
}

void layer_norm_grad(const float* x, const float* gamma, const float* dy, const RowStats* stats,
                     float* dx, float* dgamma, float* dbeta, int64_t rows, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Backward)(x, gamma, dy, stats, dx, dgamma, dbeta, rows, n);
}

}  // namespace pare::kernels
#endif
