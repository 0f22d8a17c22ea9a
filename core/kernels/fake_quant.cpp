#include "core/kernels/fake_quant.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "core/kernels/highway.h"
#include "core/kernels/ref_quant.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/fake_quant.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/fake_quant-inl.h"
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using Vf = hn::Vec<D>;

void FakeQuantize(const FakeQuant& q, const float* x, float* y, int64_t n) {
  const D d;
  const QuantLanes<D> lanes(d, q);
  WithQuantizing(q.rounding, [&](auto f) HWY_ATTR {
    Map(
        d, y, n, [&](auto v) HWY_ATTR { return f.Value(d, lanes, v); }, x);
  });
}

/// Two chains of sums hide each other's latency.
struct Chains {
  Vf inside, below, above;
};

FakeQuantSums FakeQuantizeGrad(const FakeQuant& q, const float* x, const float* dy, float* dx,
                               int64_t n) {
  const D d;
  const QuantLanes<D> lanes(d, q);
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  const Vf zero = hn::Zero(d);
  Chains a{zero, zero, zero}, b{zero, zero, zero};
  WithQuantizing(q.rounding, [&](auto f) HWY_ATTR {
    const auto at = [&](int64_t i, int64_t count, Chains& c) HWY_ATTR {
      const Vf g = f.template Grad<true>(d, lanes, LoadFirst(d, x + i, static_cast<size_t>(count)),
                                         LoadFirst(d, dy + i, static_cast<size_t>(count)), c.inside,
                                         c.below, c.above);
      if (dx) StoreFirst(g, d, dx + i, static_cast<size_t>(count));
    };
    int64_t i = 0;
    for (; i + 2 * step <= n; i += 2 * step) {
      at(i, step, a);
      at(i + step, step, b);
    }
    for (; i < n; i += step) at(i, std::min(step, n - i), a);  // lanes beyond n have dy = 0
  });
  const auto total = [&](Vf u, Vf v)
                         HWY_ATTR { return hn::GetLane(hn::SumOfLanes(d, hn::Add(u, v))); };
  return {total(a.inside, b.inside), total(a.below, b.below), total(a.above, b.above)};
}

/// f(first channel, number of channels) for whole vectors, then for what is left.
template <class F>
HWY_INLINE void ForEachStrip(int64_t channels, F f) {
  const int64_t step = static_cast<int64_t>(hn::Lanes(D()));
  for (int64_t c = 0; c < channels; c += step) {
    f(c, static_cast<size_t>(std::min(step, channels - c)));
  }
}

HWY_INLINE QuantLanes<D> ColumnLanes(const FakeQuantColumns& q, int64_t c, size_t count) {
  const D d;
  // Lanes beyond the last channel must not divide by zero.
  const Vf scale = LoadFirst(d, q.scale + c, count);
  const Vf safe = hn::IfThenElse(hn::Gt(scale, hn::Zero(d)), scale, hn::Set(d, 1.0f));
  QuantLanes<D> lanes{d, q.q, safe, LoadFirst(d, q.zero + c, count)};
  if (!q.min) return lanes;
  lanes.min = LoadFirst(d, q.min + c, count);
  lanes.max = LoadFirst(d, q.max + c, count);
  return lanes;
}

void FakeQuantizeColumns(const FakeQuantColumns& q, const float* x, float* y, int64_t rows,
                         int64_t channels) {
  const D d;
  WithQuantizing(q.q.rounding, [&](auto f) HWY_ATTR {
    ForEachStrip(channels, [&](int64_t c, size_t count) HWY_ATTR {
      const QuantLanes<D> lanes = ColumnLanes(q, c, count);
      for (int64_t i = c; i < rows * channels; i += channels) {
        StoreFirst(f.Value(d, lanes, LoadFirst(d, x + i, count)), d, y + i, count);
      }
    });
  });
}

template <bool kSums>
HWY_INLINE void ColumnsGrad(const FakeQuantColumns& q, const float* x, const float* dy, float* dx,
                            int64_t rows, int64_t channels, float* sums) {
  const D d;
  WithQuantizing(q.q.rounding, [&](auto f) HWY_ATTR {
    ForEachStrip(channels, [&](int64_t c, size_t count) HWY_ATTR {
      const QuantLanes<D> lanes = ColumnLanes(q, c, count);
      Vf inside = hn::Zero(d), below = inside, above = inside;
      for (int64_t i = c; i < rows * channels; i += channels) {
        const Vf g = f.template Grad<kSums>(d, lanes, LoadFirst(d, x + i, count),
                                            LoadFirst(d, dy + i, count), inside, below, above);
        if (dx) StoreFirst(g, d, dx + i, count);
      }
      if constexpr (kSums) {
        StoreFirst(inside, d, sums + c, count);
        StoreFirst(below, d, sums + channels + c, count);
        StoreFirst(above, d, sums + 2 * channels + c, count);
      }
    });
  });
}

void FakeQuantizeColumnsGrad(const FakeQuantColumns& q, const float* x, const float* dy, float* dx,
                             int64_t rows, int64_t channels, float* sums) {
  if (sums) return ColumnsGrad<true>(q, x, dy, dx, rows, channels, sums);
  ColumnsGrad<false>(q, x, dy, dx, rows, channels, sums);
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(FakeQuantize);
HWY_EXPORT(FakeQuantizeGrad);
HWY_EXPORT(FakeQuantizeColumns);
HWY_EXPORT(FakeQuantizeColumnsGrad);

namespace {

/// Floats in order, as whole numbers in order: -0 and 0 are neighbours.
int32_t rank_of(float x) {
  const int32_t bits = std::bit_cast<int32_t>(x);
  return bits >= 0 ? bits : std::numeric_limits<int32_t>::min() - bits - 1;
}
float of_rank(int32_t rank) {
  return std::bit_cast<float>(rank >= 0 ? rank : std::numeric_limits<int32_t>::min() - rank - 1);
}

/// The first float for which `late` holds, which is false and then true: infinity if it never is.
template <class P>
float first(P late) {
  int64_t low = rank_of(-FakeQuant::kInfinity), high = rank_of(FakeQuant::kInfinity);
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (late(of_rank(static_cast<int32_t>(middle)))) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return of_rank(static_cast<int32_t>(low));
}

}  // namespace

FakeQuant windowed(FakeQuant q) noexcept {
  // Codes never fall when x rises, whatever is rounded on the way.
  const auto code = [&q](float x) { return ref::quant_code(q, x / q.scale); };
  const float lowest = first([&](float x) { return !(code(x) < q.lo || x < q.min); });
  const float above = first([&](float x) { return code(x) > q.hi || x > q.max; });
  q.min = lowest;
  q.max = of_rank(rank_of(above) - 1);
  return q;
}

void fake_quant(const FakeQuant& q, const float* x, float* y, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(FakeQuantize)(q, x, y, n);
}

FakeQuantSums fake_quant_grad(const FakeQuant& q, const float* x, const float* dy, float* dx,
                              int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(FakeQuantizeGrad)(q, x, dy, dx, n);
}

void fake_quant_columns(const FakeQuantColumns& q, const float* x, float* y, int64_t rows,
                        int64_t channels) noexcept {
  HWY_DYNAMIC_DISPATCH(FakeQuantizeColumns)(q, x, y, rows, channels);
}

void fake_quant_columns_grad(const FakeQuantColumns& q, const float* x, const float* dy, float* dx,
                             int64_t rows, int64_t channels, float* sums) noexcept {
  HWY_DYNAMIC_DISPATCH(FakeQuantizeColumnsGrad)(q, x, dy, dx, rows, channels, sums);
}

}  // namespace pare::kernels
#endif
