// e^x, log, tanh and the normal distribution's Phi for every float, infinities and NaN included.
// Highway's own are accurate (exp 1 ulp, log and tanh 4 ulp) but only on part of the line. The
// names end in Of because argument-dependent lookup would find both.

#if defined(PARE_CORE_KERNELS_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PARE_CORE_KERNELS_MATH_INL_H_
#undef PARE_CORE_KERNELS_MATH_INL_H_
#else
#define PARE_CORE_KERNELS_MATH_INL_H_
#endif

#include <limits>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// x limited to [lo, hi]; NaN becomes hi, so that integer conversions below stay defined.
template <class D, class V>
HWY_INLINE V Limit(D d, V x, float lo, float hi) {
  const V bottom = hn::Set(d, lo), top = hn::Set(d, hi);
  const V below = hn::IfThenElse(hn::Lt(x, top), x, top);
  return hn::IfThenElse(hn::Gt(below, bottom), below, bottom);
}

template <class D, class V>
HWY_INLINE V ExpOf(D d, V x) {
  // e^104 overflows to infinity and e^-105 underflows to zero, as they should.
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, Limit(d, x, -105.0f, 104.0f)));
}

template <class D, class V>
HWY_INLINE V LogOf(D d, V x) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const V zero = hn::Zero(d), infinity = hn::Set(d, kInfinity);
  const V regular = hn::Log(d, Limit(d, x, 0.0f, std::numeric_limits<float>::max()));
  const V positive = hn::IfThenElse(hn::Lt(x, infinity), regular, x);  // infinity and NaN stay
  const V pole = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), positive);
  return hn::IfThenElse(hn::Lt(x, zero), hn::Set(d, std::numeric_limits<float>::quiet_NaN()), pole);
}

template <class D, class V>
HWY_INLINE V TanhOf(D d, V x) {
  // 1 - tanh(20) = 8e-18: beyond, the limits change nothing.
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Tanh(d, Limit(d, x, -20.0f, 20.0f)));
}

/// 1 / (1 + e^-x). For x -> -inf the exponential overflows and the quotient is the right zero.
template <class D, class V>
HWY_INLINE V SigmoidOf(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, ExpOf(d, hn::Neg(x))));
}

/// The standard normal distribution: Phi(x) = (1 + erf(x / sqrt 2)) / 2, phi = Phi'.
template <class V>
struct Normal {
  V cdf, density;
};

/// For t = |x| and u = 1 / (1 + 0.3 t):  Phi(-t) = e^(-t^2/2) u P(u), with P of degree 7 fitted by
/// us to a relative error of 1.5e-7 on 0 <= t <= 14, where the exponential has underflowed.
template <class D, class V>
HWY_INLINE Normal<V> NormalOf(D d, V x) {
  constexpr float kP[] = {0.0356748758f, -0.157203495f, 0.20635419f,  -0.0536842408f,
                          0.128561922f,  0.0999134093f, 0.120753968f, 0.119629298f};
  const V one = hn::Set(d, 1.0f);
  const V u = hn::Div(one, hn::MulAdd(hn::Set(d, 0.3f), hn::Abs(x), one));
  V p = hn::Set(d, kP[0]);
  for (int i = 1; i < 8; ++i) p = hn::MulAdd(p, u, hn::Set(d, kP[i]));
  const V bell = ExpOf(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5f)));
  const V tail = hn::Mul(bell, hn::Mul(u, p));
  return {hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(one, tail)),
          hn::Mul(bell, hn::Set(d, 0.39894228f))};
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
