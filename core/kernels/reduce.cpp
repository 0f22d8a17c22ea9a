#include "core/kernels/highway.h"
//
#include <algorithm>
#include <limits>

#include "core/kernels/reduce.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/reduce.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

/// sum term(in[i] ...) of a block of values, in four chains per lane.
template <class Term, class... In>
HWY_INLINE float SumBlock(D d, int64_t n, Term term, const In*... in) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  V s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = hn::Add(s0, term(hn::LoadU(d, in + i)...));
    s1 = hn::Add(s1, term(hn::LoadU(d, in + i + lanes)...));
    s2 = hn::Add(s2, term(hn::LoadU(d, in + i + 2 * lanes)...));
    s3 = hn::Add(s3, term(hn::LoadU(d, in + i + 3 * lanes)...));
  }
  for (; i + lanes <= n; i += lanes) s0 = hn::Add(s0, term(hn::LoadU(d, in + i)...));
  if (i < n) {
    const size_t rest = static_cast<size_t>(n - i);
    s1 = hn::Add(s1, hn::IfThenElseZero(hn::FirstN(d, rest), term(LoadTail(d, in + i, rest)...)));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

template <class Term, class... In>
HWY_INLINE double SumRow(int64_t n, Term term, const In*... in) {
  const D d;
  const int64_t block = 64 * static_cast<int64_t>(hn::Lanes(d));  // chains of 16
  double total = 0;
  for (int64_t i = 0; i < n; i += block) {
    total += static_cast<double>(SumBlock(d, std::min(block, n - i), term, (in + i)...));
  }
  return total;
}

double Sum(const float* x, int64_t n) {
  return SumRow(
      n, [](V v) HWY_ATTR { return v; }, x);
}

double SumSquares(const float* x, float center, int64_t n) {
  const V c = hn::Set(D(), center);
  const auto term = [c](V v) HWY_ATTR {
    const V delta = hn::Sub(v, c);
    return hn::Mul(delta, delta);
  };
  return SumRow(n, term, x);
}

double SumSquaredDifference(const float* a, const float* b, int64_t n) {
  const auto term = [](V u, V v) HWY_ATTR {
    const V delta = hn::Sub(u, v);
    return hn::Mul(delta, delta);
  };
  return SumRow(n, term, a, b);
}

/// y[i] += sum_r term(x[r, i], i), a block of rows at a time: short chains are accurate chains.
template <class Term>
HWY_INLINE void SumColumns(const float* x, int64_t rows, int64_t stride, int64_t n, float* y,
                           Term term) {
  constexpr int64_t kBlock = 64;
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  std::fill(y, y + n, 0.0f);
  for (int64_t r0 = 0; r0 < rows; r0 += kBlock) {
    const int64_t count = std::min(kBlock, rows - r0);
    const float* block = x + r0 * stride;
    int64_t i = 0;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {  // two chains hide the latency of an addition
      V s0 = hn::Zero(d), s1 = s0;
      for (int64_t r = 0; r < count; ++r) {
        const float* p = block + r * stride + i;
        s0 = hn::Add(s0, term(hn::LoadU(d, p), i));
        s1 = hn::Add(s1, term(hn::LoadU(d, p + lanes), i + lanes));
      }
      hn::StoreU(hn::Add(hn::LoadU(d, y + i), s0), d, y + i);
      hn::StoreU(hn::Add(hn::LoadU(d, y + i + lanes), s1), d, y + i + lanes);
    }
    for (; i < n; i += lanes) {
      const size_t width = static_cast<size_t>(std::min(lanes, n - i));
      V s = hn::Zero(d);
      for (int64_t r = 0; r < count; ++r) {
        s = hn::Add(s, term(LoadFirst(d, block + r * stride + i, width), i));
      }
      StoreFirst(hn::Add(LoadFirst(d, y + i, width), s), d, y + i, width);
    }
  }
}

void PlainColumns(const float* x, int64_t rows, int64_t stride, int64_t n, float* y) {
  SumColumns(x, rows, stride, n, y, [](V v, int64_t) HWY_ATTR { return v; });
}

void SquaresColumns(const float* x, const float* center, int64_t rows, int64_t stride, int64_t n,
                    float* y) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  SumColumns(x, rows, stride, n, y, [&](V v, int64_t i) HWY_ATTR {
    const V c = LoadFirst(d, center + i, static_cast<size_t>(std::min(lanes, n - i)));
    const V delta = hn::Sub(v, c);
    return hn::Mul(delta, delta);
  });
}

/// The first i in [0, n) with match(x[i]); -1 if there is none.
template <class Match>
HWY_INLINE int64_t FindFirst(const float* x, int64_t n, Match match) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < n; i += lanes) {
    const size_t width = static_cast<size_t>(std::min(lanes, n - i));
    const auto found = match(LoadFirst(d, x + i, width));
    const auto hit = hn::FindFirstTrue(d, hn::And(found, hn::FirstN(d, width)));
    if (hit >= 0) return i + static_cast<int64_t>(hit);
  }
  return -1;
}

Maximum MaxRow(const float* x, int64_t n) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  V best = hn::Set(d, x[0]);
  auto nan = hn::IsNaN(best);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V v = hn::LoadU(d, x + i);
    best = hn::IfThenElse(hn::Gt(v, best), v, best);
    nan = hn::Or(nan, hn::IsNaN(v));
  }
  for (; i < n; ++i) {
    const V v = hn::Set(d, x[i]);
    best = hn::IfThenElse(hn::Gt(v, best), v, best);
    nan = hn::Or(nan, hn::IsNaN(v));
  }
  if (!hn::AllFalse(d, nan)) {
    const int64_t at = FindFirst(x, n, [](V v) HWY_ATTR { return hn::IsNaN(v); });
    return {x[at], at};
  }
  const V top = hn::Set(d, hn::GetLane(hn::MaxOfLanes(d, best)));
  const int64_t at = FindFirst(x, n, [&](V v) HWY_ATTR { return hn::Eq(v, top); });
  return {x[at], at};
}

void MaxColumns(const float* x, int64_t rows, int64_t stride, int64_t n, float* y, int32_t* index) {
  const D d;
  const hn::RebindToSigned<D> di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN int32_t found[HWY_LANES(int32_t)];
  for (int64_t i = 0; i < n; i += lanes) {
    const size_t width = static_cast<size_t>(std::min(lanes, n - i));
    V best = LoadFirst(d, x + i, width);
    auto at = hn::Zero(di);
    for (int64_t r = 1; r < rows; ++r) {
      const V v = LoadFirst(d, x + r * stride + i, width);
      // v > best or v is NaN; but nothing follows a NaN.
      const auto larger = hn::AndNot(hn::IsNaN(best), hn::Not(hn::Le(v, best)));
      best = hn::IfThenElse(larger, v, best);
      at = hn::IfThenElse(hn::RebindMask(di, larger), hn::Set(di, static_cast<int32_t>(r)), at);
    }
    StoreFirst(best, d, y + i, width);
    hn::Store(at, di, found);
    std::copy(found, found + width, index + i);
  }
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(Sum);
HWY_EXPORT(SumSquares);
HWY_EXPORT(SumSquaredDifference);
HWY_EXPORT(PlainColumns);
HWY_EXPORT(SquaresColumns);
HWY_EXPORT(MaxRow);
HWY_EXPORT(MaxColumns);

double sum(const float* x, int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(Sum)(x, n); }

double sum_squares(const float* x, float center, int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(SumSquares)(x, center, n);
}

double sum_squared_difference(const float* a, const float* b, int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(SumSquaredDifference)(a, b, n);
}

void sum_columns(const float* x, int64_t rows, int64_t stride, int64_t n, float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(PlainColumns)(x, rows, stride, n, y);
}

void sum_squares_columns(const float* x, const float* center, int64_t rows, int64_t stride,
                         int64_t n, float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(SquaresColumns)(x, center, rows, stride, n, y);
}

Maximum max(const float* x, int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(MaxRow)(x, n); }

void max_columns(const float* x, int64_t rows, int64_t stride, int64_t n, float* y,
                 int32_t* index) noexcept {
  HWY_DYNAMIC_DISPATCH(MaxColumns)(x, rows, stride, n, y, index);
}

}  // namespace pare::kernels
#endif
