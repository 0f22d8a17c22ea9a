#include "core/kernels/bounds.h"

#include <algorithm>

#include "core/kernels/highway.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/bounds.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using Vf = hn::Vec<D>;

/// Extremes so far. What Min and Max do with NaN depends on the ISA, so that one is kept aside: the
/// sum of x - x is NaN once an x was NaN, or infinite.
struct Extremes {
  Vf min, max, odd;

  HWY_INLINE explicit Extremes(Vf first) : min(first), max(first), odd(hn::Sub(first, first)) {}
  HWY_INLINE void add(Vf x) {
    min = hn::Min(min, x);
    max = hn::Max(max, x);
    odd = hn::Add(odd, hn::Sub(x, x));
  }
  HWY_INLINE void add(const Extremes& e) {
    min = hn::Min(min, e.min);
    max = hn::Max(max, e.max);
    odd = hn::Add(odd, e.odd);
  }
};

Bounds BoundsOf(const float* x, int64_t n) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  Extremes a(hn::Set(d, x[0])), b = a;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    a.add(hn::LoadU(d, x + i));
    b.add(hn::LoadU(d, x + i + lanes));
  }
  for (; i < n; i += lanes) {
    const size_t count = static_cast<size_t>(std::min(lanes, n - i));
    const Vf v = LoadFirst(d, x + i, count);
    a.add(count == hn::Lanes(d) ? v : hn::IfThenElse(hn::FirstN(d, count), v, hn::Set(d, x[0])));
  }
  a.add(b);
  const float odd = hn::GetLane(hn::SumOfLanes(d, a.odd));
  if (odd == 0)
    return {hn::GetLane(hn::MinOfLanes(d, a.min)), hn::GetLane(hn::MaxOfLanes(d, a.max))};
  Bounds slow{x[0], x[0]};
  for (int64_t k = 0; k < n; ++k) {
    if (x[k] != x[k]) return {x[k], x[k]};
    slow = {std::min(slow.min, x[k]), std::max(slow.max, x[k])};
  }
  return slow;
}

void BoundsOfColumns(const float* x, int64_t rows, int64_t channels, float* min, float* max) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < channels; c += lanes) {
    const size_t count = static_cast<size_t>(std::min(lanes, channels - c));
    Extremes e(LoadFirst(d, x + c, count));
    for (int64_t r = 1; r < rows; ++r) e.add(LoadFirst(d, x + r * channels + c, count));
    // NaN where one was seen, or an infinity: which of the two is decided by looking again.
    StoreFirst(e.min, d, min + c, count);
    StoreFirst(hn::Add(e.max, e.odd), d, max + c, count);
  }
  for (int64_t c = 0; c < channels; ++c) {
    if (max[c] == max[c]) continue;
    min[c] = max[c] = x[c];
    for (int64_t r = 0; r < rows && max[c] == max[c]; ++r) {
      const float v = x[r * channels + c];
      min[c] = v != v ? v : std::min(min[c], v);
      max[c] = v != v ? v : std::max(max[c], v);
    }
  }
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(BoundsOf);
HWY_EXPORT(BoundsOfColumns);

Bounds bounds(const float* x, int64_t n) noexcept { return HWY_DYNAMIC_DISPATCH(BoundsOf)(x, n); }

void bounds_columns(const float* x, int64_t rows, int64_t channels, float* min,
                    float* max) noexcept {
  HWY_DYNAMIC_DISPATCH(BoundsOfColumns)(x, rows, channels, min, max);
}

}  // namespace pare::kernels
#endif
