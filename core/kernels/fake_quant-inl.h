// The lane math of kernels/fake_quant.h. Included per target. Single operations only, never a fused
// multiply-add: values and gradients are the same bits on every ISA. NaN goes in and comes out.

#if defined(PARE_CORE_KERNELS_FAKE_QUANT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PARE_CORE_KERNELS_FAKE_QUANT_INL_H_
#undef PARE_CORE_KERNELS_FAKE_QUANT_INL_H_
#else
#define PARE_CORE_KERNELS_FAKE_QUANT_INL_H_
#endif

#include "core/kernels/fake_quant.h"
#include "core/kernels/pointwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// x / s, rounded as a division rounds it, from r = 1 / s. Two corrections by the exact remainder:
/// the first leaves an error below one unit in the last place, from where the second is exact
/// (Markstein 1990). A third of the time of a division. Where x r overflows the result is NaN.
template <class V>
HWY_INLINE V Quotient(V x, V s, V r) {
#if !HWY_NATIVE_FMA
  (void)r;
  return hn::Div(x, s);
#else
  const V rough = hn::Mul(x, r);
  const V close = hn::MulAdd(hn::NegMulAdd(rough, s, x), r, rough);
  return hn::MulAdd(hn::NegMulAdd(close, s, x), r, close);
#endif
}

/// min(max(x, lo), hi); NaN stays NaN.
template <class V>
HWY_INLINE V Within(V x, V lo, V hi) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSSE3
  return hn::Min(hi, hn::Max(lo, x));  // MINPS and MAXPS give the second operand for NaN
#else
  const V raised = hn::IfThenElse(hn::Lt(x, lo), lo, x);
  return hn::IfThenElse(hn::Gt(raised, hi), hi, raised);
#endif
}

/// One vector's worth of FakeQuant. `before` and `after` the rounding add up to the zero point;
/// `least` and `most` are the values of the codes lo and hi.
template <class D>
struct QuantLanes {
  using V = hn::Vec<D>;
  V scale, inverse, before, after, zero, least, most, min, max;

  HWY_INLINE QuantLanes(D d, const FakeQuant& q, V scales, V zeros)
      : scale(scales),
        inverse(hn::Div(hn::Set(d, 1.0f), scales)),
        before(q.shift_first ? zeros : hn::Zero(d)),
        after(q.shift_first ? hn::Zero(d) : zeros),
        zero(zeros),
        least(hn::Mul(hn::Sub(hn::Set(d, q.lo), zeros), scales)),
        most(hn::Mul(hn::Sub(hn::Set(d, q.hi), zeros), scales)),
        min(hn::Set(d, q.min)),
        max(hn::Set(d, q.max)) {}
  HWY_INLINE QuantLanes(D d, const FakeQuant& q)
      : QuantLanes(d, q, hn::Set(d, q.scale), hn::Set(d, q.zero)) {}
};

template <Rounding kRounding>
struct Quantizing {
  /// u
  template <class D, class V>
  static HWY_INLINE V Code(D d, const QuantLanes<D>& q, V t) {
    return hn::Add(RoundBy<kRounding>(d, hn::Add(t, q.before)), q.after);
  }

  /// clamp(u, lo, hi), which is u of the clamped x: a division brings `least` and `most` back to
  /// their codes within half a unit. A true division: x (1 / s) breaks ties differently, and
  /// integer kernels divide.
  template <class D, class V>
  static HWY_INLINE V Clamped(D d, const QuantLanes<D>& q, V x) {
    return Code(d, q, Quotient(Within(x, q.least, q.most), q.scale, q.inverse));
  }

  /// y
  template <class D, class V>
  static HWY_INLINE V Value(D d, const QuantLanes<D>& q, V x) {
    return hn::Mul(hn::Sub(Clamped(d, q, x), q.zero), q.scale);
  }

  /// dx, and the three sums gain this vector's part unless kSums is false. q's min and max must be
  /// its window.
  template <bool kSums, class D, class V>
  static HWY_INLINE V Grad(D d, const QuantLanes<D>& q, V x, V dy, V& inside, V& below, V& above) {
    const auto under = hn::Lt(x, q.min), over = hn::Gt(x, q.max), outside = hn::Or(under, over);
    if constexpr (kSums) {
      const V t = Quotient(x, q.scale, q.inverse), u = Code(d, q, t);
      const V gap = hn::Sub(hn::Sub(u, q.zero), t);
      inside = hn::Add(inside, hn::IfThenZeroElse(outside, hn::Mul(dy, gap)));
      below = hn::Add(below, hn::IfThenElseZero(under, dy));
      above = hn::Add(above, hn::IfThenElseZero(over, dy));
    }
    return hn::IfThenZeroElse(outside, dy);
  }
};

/// f(Quantizing<...>) for a rounding known at run time.
template <class F>
HWY_INLINE auto WithQuantizing(Rounding rounding, F f) {
  if (rounding == Rounding::half_even) return f(Quantizing<Rounding::half_even>());
  return f(Quantizing<Rounding::half_away>());
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
