// Loops over lanes, written once: whole vectors, then the tail. Included per target, after
// foreach_target.h.

#if defined(PARE_CORE_KERNELS_MAP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PARE_CORE_KERNELS_MAP_INL_H_
#undef PARE_CORE_KERNELS_MAP_INL_H_
#else
#define PARE_CORE_KERNELS_MAP_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The first `count` < Lanes(d) values at p; the other lanes are zero. Never touches memory beyond
/// them.
template <class D>
HWY_INLINE hn::Vec<D> LoadTail(D d, const float* p, size_t count) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float lanes[HWY_LANES(float)] = {};
  for (size_t i = 0; i < count; ++i) lanes[i] = p[i];
  return hn::Load(d, lanes);
#else
  return hn::MaskedLoad(hn::FirstN(d, count), d, p);
#endif
}

/// Stores the first `count` < Lanes(d) lanes of v.
template <class D>
HWY_INLINE void StoreTail(hn::Vec<D> v, D d, float* p, size_t count) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float lanes[HWY_LANES(float)];
  hn::Store(v, d, lanes);
  for (size_t i = 0; i < count; ++i) p[i] = lanes[i];
#else
  hn::BlendedStore(v, hn::FirstN(d, count), d, p);
#endif
}

/// The first `count` <= Lanes(d) values at p.
template <class D>
HWY_INLINE hn::Vec<D> LoadFirst(D d, const float* p, size_t count) {
  return count == hn::Lanes(d) ? hn::LoadU(d, p) : LoadTail(d, p, count);
}

template <class D>
HWY_INLINE void StoreFirst(hn::Vec<D> v, D d, float* p, size_t count) {
  if (count == hn::Lanes(d)) return hn::StoreU(v, d, p);
  StoreTail(v, d, p, count);
}

/// A vector of a row of floats: a whole one, without a look at how many lanes are in use, or the
/// last.
struct WholeVector {
  using D = hn::ScalableTag<float>;
  HWY_INLINE hn::Vec<D> load(const float* p) const { return hn::LoadU(D(), p); }
  HWY_INLINE void store(hn::Vec<D> v, float* p) const { hn::StoreU(v, D(), p); }
};
struct PartVector {
  using D = hn::ScalableTag<float>;
  size_t count;
  HWY_INLINE hn::Vec<D> load(const float* p) const { return LoadTail(D(), p, count); }
  HWY_INLINE void store(hn::Vec<D> v, float* p) const { StoreTail(v, D(), p, count); }
};

/// f(vector, where it begins) for all vectors of n floats.
template <class F>
HWY_INLINE void ForVectors(int64_t n, F f) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<float>()));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) f(WholeVector(), i);
  if (i < n) f(PartVector{static_cast<size_t>(n - i)}, i);
}

/// y[i] = f(in[i] ...). y may be one of the inputs.
template <class D, class F, class... In>
HWY_INLINE void Map(D d, float* y, int64_t n, F f, const In*... in) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(hn::LoadU(d, in + i)...), d, y + i);
  if (i < n) {
    const size_t rest = static_cast<size_t>(n - i);
    StoreTail(f(LoadTail(d, in + i, rest)...), d, y + i, rest);
  }
}

/// sum f(in[i] ...) over a row short enough for one chain per lane; reduce.h has the accurate one.
template <class D, class F, class... In>
HWY_INLINE float SumOver(D d, int64_t n, F f, const In*... in) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<D> sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) sum = hn::Add(sum, f(hn::LoadU(d, in + i)...));
  if (i < n) {
    const size_t rest = static_cast<size_t>(n - i);
    const auto last = f(LoadTail(d, in + i, rest)...);
    sum = hn::Add(sum, hn::IfThenElseZero(hn::FirstN(d, rest), last));
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
