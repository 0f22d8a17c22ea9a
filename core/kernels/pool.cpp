#include "core/kernels/highway.h"
//
#include <algorithm>
#include <cstring>
#include <limits>

#include "core/kernels/pool.h"
#include "core/scratch.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/pool.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

using D = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;

template <class T>
HWY_INLINE hn::Vec<DI> LoadTaps(WholeVector, const T* p) {
  const hn::Rebind<T, DI> dt;
  if constexpr (sizeof(T) == 1) {
    return hn::PromoteTo(DI(), hn::LoadU(dt, p));
  } else {
    return hn::LoadU(dt, p);
  }
}
template <class T>
HWY_INLINE hn::Vec<DI> LoadTaps(PartVector part, const T* p) {
  HWY_ALIGN T lanes[HWY_LANES(float)] = {};
  std::copy_n(p, std::min(part.count, std::size(lanes)), lanes);
  return LoadTaps(WholeVector(), lanes);
}

template <class T>
HWY_INLINE void StoreTaps(WholeVector, hn::Vec<DI> v, T* p) {
  const hn::Rebind<T, DI> dt;
  if constexpr (sizeof(T) == 1) {
    hn::StoreU(hn::DemoteTo(dt, v), dt, p);
  } else {
    hn::StoreU(v, dt, p);
  }
}
template <class T>
HWY_INLINE void StoreTaps(PartVector part, hn::Vec<DI> v, T* p) {
  HWY_ALIGN T lanes[HWY_LANES(float)];
  StoreTaps(WholeVector(), v, lanes);
  std::copy_n(lanes, std::min(part.count, std::size(lanes)), p);
}

template <class T>
HWY_INLINE void MaxRow(const float* image, const PoolGeometry& g, int64_t oy, float* y, T* tap) {
  const D d;
  const DI di;
  const auto rows = g.h.inputs(oy);
  const int64_t top = oy * g.h.stride - g.h.pad;
  for (int64_t ox = 0; ox < g.w.out; ++ox, y += g.channels) {
    const auto columns = g.w.inputs(ox);
    const int64_t left = ox * g.w.stride - g.w.pad;
    const int64_t first = (rows.begin - top) * g.w.kernel + columns.begin - left;
    ForVectors(g.channels, [&](auto lane, int64_t c) HWY_ATTR {
      V best = hn::Set(d, -std::numeric_limits<float>::infinity());
      auto at = hn::Set(di, static_cast<int32_t>(first));
      for (int64_t iy = rows.begin; iy < rows.end; ++iy) {
        const float* p = image + (iy * g.w.in + columns.begin) * g.channels + c;
        int32_t k = static_cast<int32_t>((iy - top) * g.w.kernel + columns.begin - left);
        for (int64_t ix = columns.begin; ix < columns.end; ++ix, ++k, p += g.channels) {
          const V v = lane.load(p);
          // v > best or v is NaN; but nothing follows a NaN.
          const auto larger = hn::AndNot(hn::IsNaN(best), hn::Not(hn::Le(v, best)));
          best = hn::IfThenElse(larger, v, best);
          at = hn::IfThenElse(hn::RebindMask(di, larger), hn::Set(di, k), at);
        }
      }
      lane.store(best, y + c);
      if (tap) StoreTaps(lane, at, tap + ox * g.channels + c);
    });
  }
}

template <class T>
HWY_INLINE void MaxGradRow(const float* dy, const T* tap, const PoolGeometry& g, int64_t iy,
                           float* dx) {
  const D d;
  const DI di;
  const auto rows = g.h.windows(iy);
  PoolAxis::Span columns{0, 0};  // windows(ix), without its divisions
  for (int64_t ix = 0; ix < g.w.in; ++ix, dx += g.channels) {
    const int64_t at = ix + g.w.pad;
    while (columns.begin * g.w.stride + g.w.kernel <= at) ++columns.begin;
    while (columns.end < g.w.out && columns.end * g.w.stride <= at) ++columns.end;
    ForVectors(g.channels, [&](auto lane, int64_t c) HWY_ATTR {
      V sum = hn::Zero(d);
      for (int64_t oy = rows.begin; oy < rows.end; ++oy) {
        const int64_t row = (iy + g.h.pad - oy * g.h.stride) * g.w.kernel;
        for (int64_t ox = columns.begin; ox < columns.end; ++ox) {
          const int64_t k = row + ix + g.w.pad - ox * g.w.stride;
          const int64_t o = (oy * g.w.out + ox) * g.channels + c;
          const auto mine = hn::Eq(LoadTaps(lane, tap + o), hn::Set(di, static_cast<int32_t>(k)));
          const V v = lane.load(dy + o);
          sum = hn::Add(sum, hn::IfThenElseZero(hn::RebindMask(d, mine), v));
        }
      }
      lane.store(sum, dx + c);
    });
  }
}

void MaxRow8(const float* image, const PoolGeometry& g, int64_t oy, float* y, TapIndex8* tap) {
  MaxRow(image, g, oy, y, tap);
}
void MaxRow32(const float* image, const PoolGeometry& g, int64_t oy, float* y, TapIndex32* tap) {
  MaxRow(image, g, oy, y, tap);
}
void MaxGradRow8(const float* dy, const TapIndex8* tap, const PoolGeometry& g, int64_t iy,
                 float* dx) {
  MaxGradRow(dy, tap, g, iy, dx);
}
void MaxGradRow32(const float* dy, const TapIndex32* tap, const PoolGeometry& g, int64_t iy,
                  float* dx) {
  MaxGradRow(dy, tap, g, iy, dx);
}

/// Fewer channels than lanes, and every window counts as many: along the row then, a tap after the
/// other, in vectors where windows are one pixel apart.
HWY_INLINE bool AlongRow(const PoolGeometry& g, bool include_pad) {
  const auto even = [](const PoolAxis& a) {
    return (a.out - 1) * a.stride - a.pad + a.kernel <= a.in + a.pad;
  };
  return include_pad && even(g.h) && even(g.w) && g.channels < static_cast<int64_t>(hn::Lanes(D()));
}

/// For all windows o of a row that see a pixel by this tap: windows[o] += pixels[...], or the other
/// way.
template <bool kToWindows>
HWY_INLINE void AddTap(const PoolAxis& a, int64_t tap, int64_t channels, const float* from,
                       float* to) {
  const int64_t shift = tap - a.pad, s = a.stride;
  const int64_t begin = shift < 0 ? (s - 1 - shift) / s : 0;
  const int64_t end = a.in > shift ? std::min(a.out, (a.in - 1 - shift) / s + 1) : 0;
  if (begin >= end) return;
  const int64_t window = begin * channels, pixel = (begin * s + shift) * channels;
  from += kToWindows ? pixel : window, to += kToWindows ? window : pixel;
  if (s == 1) {
    Map(
        D(), to, (end - begin) * channels,
        [](auto sum, auto v) HWY_ATTR { return hn::Add(sum, v); }, to, from);
    return;
  }
  const int64_t from_step = (kToWindows ? s : 1) * channels;
  const int64_t to_step = (kToWindows ? 1 : s) * channels;
  for (int64_t o = begin; o < end; ++o, from += from_step, to += to_step) {
    for (int64_t c = 0; c < channels; ++c) to[c] += from[c];
  }
}

/// A row of windows from rows of pixels, or of pixels from rows of windows.
template <bool kToWindows>
void AvgAlongRow(const float* from, PoolAxis::Span rows, const PoolGeometry& g, float* to) {
  const int64_t n = (kToWindows ? g.w.out : g.w.in) * g.channels;
  const int64_t line = (kToWindows ? g.w.in : g.w.out) * g.channels;
  Scratch scratch;
  float* column = scratch.floats(line);  // rows added up, once for all taps
  std::memset(column, 0, static_cast<size_t>(line) * sizeof(float));
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    Map(
        D(), column, line, [](auto sum, auto v) HWY_ATTR { return hn::Add(sum, v); }, column,
        from + i * line);
  }
  std::memset(to, 0, static_cast<size_t>(n) * sizeof(float));
  for (int64_t t = 0; t < g.w.kernel; ++t) AddTap<kToWindows>(g.w, t, g.channels, column, to);
  const V divisor = hn::Set(D(), static_cast<float>(g.h.kernel * g.w.kernel));
  Map(
      D(), to, n, [&](auto v) HWY_ATTR { return hn::Div(v, divisor); }, to);
}

void AvgRow(const float* image, const PoolGeometry& g, bool include_pad, int64_t oy, float* y) {
  const D d;
  const auto rows = g.h.inputs(oy);
  if (AlongRow(g, include_pad)) return AvgAlongRow<true>(image, rows, g, y);
  for (int64_t ox = 0; ox < g.w.out; ++ox, y += g.channels) {
    const auto columns = g.w.inputs(ox);
    const int64_t counted = g.h.counted(oy, include_pad) * g.w.counted(ox, include_pad);
    const V divisor = hn::Set(d, static_cast<float>(counted));
    ForVectors(g.channels, [&](auto lane, int64_t c) HWY_ATTR {
      V sum = hn::Zero(d);
      for (int64_t iy = rows.begin; iy < rows.end; ++iy) {
        const float* p = image + (iy * g.w.in + columns.begin) * g.channels + c;
        for (int64_t ix = columns.begin; ix < columns.end; ++ix, p += g.channels) {
          sum = hn::Add(sum, lane.load(p));
        }
      }
      lane.store(hn::Div(sum, divisor), y + c);
    });
  }
}

void AvgGradRow(const float* dy, const PoolGeometry& g, bool include_pad, int64_t iy, float* dx) {
  const D d;
  const auto rows = g.h.windows(iy);
  if (AlongRow(g, include_pad)) return AvgAlongRow<false>(dy, rows, g, dx);
  for (int64_t ix = 0; ix < g.w.in; ++ix, dx += g.channels) {
    const auto columns = g.w.windows(ix);
    ForVectors(g.channels, [&](auto lane, int64_t c) HWY_ATTR {
      V sum = hn::Zero(d);
      for (int64_t oy = rows.begin; oy < rows.end; ++oy) {
        for (int64_t ox = columns.begin; ox < columns.end; ++ox) {
          const int64_t counted = g.h.counted(oy, include_pad) * g.w.counted(ox, include_pad);
          const V v = lane.load(dy + (oy * g.w.out + ox) * g.channels + c);
          sum = hn::Add(sum, hn::Div(v, hn::Set(d, static_cast<float>(counted))));
        }
      }
      lane.store(sum, dx + c);
    });
  }
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(MaxRow8);
HWY_EXPORT(MaxRow32);
HWY_EXPORT(MaxGradRow8);
HWY_EXPORT(MaxGradRow32);
HWY_EXPORT(AvgRow);
HWY_EXPORT(AvgGradRow);

void max_pool(const float* image, const PoolGeometry& g, int64_t oy, float* y,
              TapIndex8* tap) noexcept {
  HWY_DYNAMIC_DISPATCH(MaxRow8)(image, g, oy, y, tap);
}

void max_pool(const float* image, const PoolGeometry& g, int64_t oy, float* y,
              TapIndex32* tap) noexcept {
  HWY_DYNAMIC_DISPATCH(MaxRow32)(image, g, oy, y, tap);
}

void max_pool_grad(const float* dy, const TapIndex8* tap, const PoolGeometry& g, int64_t iy,
                   float* dx) noexcept {
  HWY_DYNAMIC_DISPATCH(MaxGradRow8)(dy, tap, g, iy, dx);
}

void max_pool_grad(const float* dy, const TapIndex32* tap, const PoolGeometry& g, int64_t iy,
                   float* dx) noexcept {
  HWY_DYNAMIC_DISPATCH(MaxGradRow32)(dy, tap, g, iy, dx);
}

void avg_pool(const float* image, const PoolGeometry& g, bool include_pad, int64_t oy,
              float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(AvgRow)(image, g, include_pad, oy, y);
}

void avg_pool_grad(const float* dy, const PoolGeometry& g, bool include_pad, int64_t iy,
                   float* dx) noexcept {
  HWY_DYNAMIC_DISPATCH(AvgGradRow)(dy, g, include_pad, iy, dx);
}

}  // namespace pare::kernels
#endif
