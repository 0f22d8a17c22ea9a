#include "core/kernels/highway.h"
//
#include <algorithm>
#include <cmath>

#include "core/kernels/softmax.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/softmax.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "core/kernels/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

/// The maximum; a NaN shows up in the exponentials, so it need not show up here.
HWY_INLINE float RowMax(D d, const float* x, int64_t n) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  V best = hn::Set(d, x[0]);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) best = hn::Max(hn::LoadU(d, x + i), best);
  if (i < n) {
    const size_t rest = static_cast<size_t>(n - i);
    const V last = LoadTail(d, x + i, rest);
    best = hn::IfThenElse(hn::FirstN(d, rest), hn::Max(last, best), best);
  }
  return hn::GetLane(hn::MaxOfLanes(d, best));
}

/// sum e^(x - top)
HWY_INLINE float SumExp(D d, const float* x, float top, int64_t n) {
  const V t = hn::Set(d, top);
  return SumOver(
      d, n, [&](V v) HWY_ATTR { return ExpOf(d, hn::Sub(v, t)); }, x);
}

/// y = e^(x - top); returns the sum.
HWY_INLINE float StoreExp(D d, const float* x, float top, float* y, int64_t n) {
  const V t = hn::Set(d, top);
  Map(
      d, y, n, [&](V v) HWY_ATTR { return ExpOf(d, hn::Sub(v, t)); }, x);
  return SumOver(
      d, n, [](V v) HWY_ATTR { return v; }, y);
}

void Softmax(const float* x, float* y, int64_t rows, int64_t n) {
  const D d;
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const V total = hn::Set(d, StoreExp(d, x, RowMax(d, x, n), y, n));
    Map(
        d, y, n, [&](V v) HWY_ATTR { return hn::Div(v, total); }, y);
  }
}

void SoftmaxGrad(const float* y, const float* dy, float* dx, int64_t rows, int64_t n) {
  const D d;
  for (int64_t r = 0; r < rows; ++r, y += n, dy += n, dx += n) {
    const V dot = hn::Set(d, SumOver(
                                 d, n, [](V p, V g) HWY_ATTR { return hn::Mul(p, g); }, y, dy));
    Map(
        d, dx, n, [&](V p, V g) HWY_ATTR { return hn::Mul(p, hn::Sub(g, dot)); }, y, dy);
  }
}

void LogSoftmax(const float* x, float* y, int64_t rows, int64_t n) {
  const D d;
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const float top = RowMax(d, x, n);
    const V t = hn::Set(d, top), log_sum = hn::Set(d, std::log(SumExp(d, x, top, n)));
    Map(
        d, y, n, [&](V v) HWY_ATTR { return hn::Sub(hn::Sub(v, t), log_sum); }, x);
  }
}

void LogSoftmaxGrad(const float* y, const float* dy, float* dx, int64_t rows, int64_t n) {
  const D d;
  for (int64_t r = 0; r < rows; ++r, y += n, dy += n, dx += n) {
    const V total = hn::Set(d, SumOver(
                                   d, n, [](V g) HWY_ATTR { return g; }, dy));
    Map(
        d, dx, n, [&](V v, V g) HWY_ATTR { return hn::NegMulAdd(ExpOf(d, v), total, g); }, y, dy);
  }
}

/// One row with the class `label`.
HWY_INLINE float LabelRow(D d, const float* z, int64_t label, float smoothing, float* dz,
                          int64_t n) {
  const float top = RowMax(d, z, n), share = smoothing / static_cast<float>(n);
  const V t = hn::Set(d, top);
  const float total = dz ? StoreExp(d, z, top, dz, n) : SumExp(d, z, top, n);
  float hit = (1.0f - smoothing) * (z[label] - top);
  if (smoothing > 0) {
    hit += share * SumOver(
                       d, n, [&](V v) HWY_ATTR { return hn::Sub(v, t); }, z);
  }
  if (dz) {
    const V sum = hn::Set(d, total), u = hn::Set(d, share);
    Map(
        d, dz, n, [&](V e) HWY_ATTR { return hn::Sub(hn::Div(e, sum), u); }, dz);
    dz[label] -= 1.0f - smoothing;
  }
  return std::log(total) - hit;
}

/// One row with the probabilities `p`.
HWY_INLINE float ProbabilityRow(D d, const float* z, const float* p, float smoothing, float* dz,
                                int64_t n) {
  const float top = RowMax(d, z, n);
  const V t = hn::Set(d, top), keep = hn::Set(d, 1.0f - smoothing);
  const V share = hn::Set(d, smoothing / static_cast<float>(n));
  const auto smooth = [&](V v) HWY_ATTR { return hn::Add(hn::Mul(keep, v), share); };
  const float total = dz ? StoreExp(d, z, top, dz, n) : SumExp(d, z, top, n);
  const float mass = SumOver(d, n, smooth, p);
  const float hit = SumOver(
      d, n, [&](V q, V v) HWY_ATTR { return hn::Mul(smooth(q), hn::Sub(v, t)); }, p, z);
  if (dz) {
    const V sum = hn::Set(d, total), m = hn::Set(d, mass);
    Map(
        d, dz, n,
        [&](V e, V q) HWY_ATTR { return hn::Sub(hn::Mul(hn::Div(e, sum), m), smooth(q)); }, dz, p);
  }
  return mass * std::log(total) - hit;
}

void CrossEntropy(const float* z, const Targets& targets, float* loss, float* dz, int64_t rows,
                  int64_t n) {
  const D d;
  for (int64_t r = 0; r < rows; ++r, z += n) {
    const float* target = targets.values + r * (targets.probabilities ? n : 1);
    float* out = dz ? dz + r * n : nullptr;
    loss[r] = targets.probabilities
                  ? ProbabilityRow(d, z, target, targets.smoothing, out, n)
                  : LabelRow(d, z, static_cast<int64_t>(*target), targets.smoothing, out, n);
  }
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(Softmax);
HWY_EXPORT(SoftmaxGrad);
HWY_EXPORT(LogSoftmax);
HWY_EXPORT(LogSoftmaxGrad);
HWY_EXPORT(CrossEntropy);

void softmax(const float* x, float* y, int64_t rows, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Softmax)(x, y, rows, n);
}

void softmax_grad(const float* y, const float* dy, float* dx, int64_t rows, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(SoftmaxGrad)(y, dy, dx, rows, n);
}

void log_softmax(const float* x, float* y, int64_t rows, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(LogSoftmax)(x, y, rows, n);
}

void log_softmax_grad(const float* y, const float* dy, float* dx, int64_t rows,
                      int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(LogSoftmaxGrad)(y, dy, dx, rows, n);
}

void cross_entropy(const float* z, const Targets& targets, float* loss, float* dz, int64_t rows,
                   int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(CrossEntropy)(z, targets, loss, dz, rows, n);
}

}  // namespace pare::kernels
#endif
