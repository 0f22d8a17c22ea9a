#include "core/kernels/row_scale.h"

#include <algorithm>

#include "core/kernels/highway.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/row_scale.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

void MeanAbs(const GroupedRows& r, const float* x, float* a) {
  const hn::ScalableTag<float> d;
  const float share = 1.0f / static_cast<float>(r.n);
  for (int64_t i = 0; i < r.rows * r.groups; ++i, x += r.n) {
    a[i] = share * SumOver(
                       d, r.n, [](auto v) HWY_ATTR { return hn::Abs(v); }, x);
  }
}

void MeanAbsGrad(const GroupedRows& r, const float* x, const float* da, const float* more,
                 float* dx) {
  const hn::ScalableTag<float> d;
  const float share = 1.0f / static_cast<float>(r.n);
  for (int64_t i = 0; i < r.rows * r.groups; ++i, x += r.n, dx += r.n) {
    const auto g = hn::Set(d, da[i] * share);
    const auto part = [&](auto v) HWY_ATTR {
      return hn::IfThenZeroElse(hn::Eq(v, hn::Zero(d)), hn::CopySign(g, hn::Xor(v, g)));
    };
    if (!more) {
      Map(d, dx, r.n, part, x);
      continue;
    }
    Map(
        d, dx, r.n, [&](auto v, auto m) HWY_ATTR { return hn::Add(m, part(v)); }, x, more);
    more += r.n;
  }
}

void ScaleRows(const GroupedRows& r, const float* x, const float* k, float* y) {
  const hn::ScalableTag<float> d;
  for (int64_t i = 0; i < r.rows * r.groups; ++i, x += r.n, y += r.n) {
    const auto scale = hn::Set(d, k[i]);
    Map(
        d, y, r.n, [&](auto v) HWY_ATTR { return hn::Mul(v, scale); }, x);
  }
}

void ScaleRowsGrad(const GroupedRows& r, const float* y, const float* k, const float* dy, float* dx,
                   float* dk) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), count = r.rows * r.groups;
  for (int64_t i = 0; i < count; ++i, y += r.n, dy += r.n, dx += r.n) {
    const auto scale = hn::Set(d, k[i]);
    auto sum = hn::Zero(d);
    for (int64_t c = 0; c < r.n; c += lanes) {
      const size_t width = static_cast<size_t>(std::min(lanes, r.n - c));
      const auto g = LoadFirst(d, dy + c, width);
      sum = hn::MulAdd(g, LoadFirst(d, y + c, width), sum);
      StoreFirst(hn::Mul(g, scale), d, dx + c, width);
    }
    dk[i] = hn::GetLane(hn::SumOfLanes(d, sum));
  }
  Map(
      d, dk, count,
      [&](auto sum, auto scale)
          HWY_ATTR { return hn::IfThenZeroElse(hn::Eq(scale, hn::Zero(d)), hn::Div(sum, scale)); },
      dk, k);
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(MeanAbs);
HWY_EXPORT(MeanAbsGrad);
HWY_EXPORT(ScaleRows);
HWY_EXPORT(ScaleRowsGrad);

void mean_abs(const GroupedRows& r, const float* x, float* a) noexcept {
  HWY_DYNAMIC_DISPATCH(MeanAbs)(r, x, a);
}

void mean_abs_grad(const GroupedRows& r, const float* x, const float* da, const float* more,
                   float* dx) noexcept {
  HWY_DYNAMIC_DISPATCH(MeanAbsGrad)(r, x, da, more, dx);
}

void scale_rows(const GroupedRows& r, const float* x, const float* k, float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(ScaleRows)(r, x, k, y);
}

void scale_rows_grad(const GroupedRows& r, const float* y, const float* k, const float* dy,
                     float* dx, float* dk) noexcept {
  HWY_DYNAMIC_DISPATCH(ScaleRowsGrad)(r, y, k, dy, dx, dk);
}

}  // namespace pare::kernels
#endif
