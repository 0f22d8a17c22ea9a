// Every unary function: Value(d, x) and Slope(d, x), its derivative at the input x. Included per
// target.
//
// The kinds that may be fused use single operations only, never a fused multiply-add: their results
// are the same bits on every ISA. NaN goes in and comes out everywhere, so that a training loop can
// see it.
//
// What a, b, c of Pointwise mean is said at each functor; kinds without a word use none of them.

#if defined(PARE_CORE_KERNELS_POINTWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PARE_CORE_KERNELS_POINTWISE_INL_H_
#undef PARE_CORE_KERNELS_POINTWISE_INL_H_
#else
#define PARE_CORE_KERNELS_POINTWISE_INL_H_
#endif

#include "core/kernels/math-inl.h"
#include "core/kernels/pointwise.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// y = x    dx = dy
struct Identity {
  template <class D, class V>
  HWY_INLINE V Value(D, V x) const {
    return x;
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V) const {
    return hn::Set(d, 1.0f);
  }
};

// y = max(x, 0)    dx = dy 1[x > 0]
struct Relu {
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    return hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), hn::Set(d, 1.0f));
  }
};

// y = x > 0 ? x : a x    dx = dy (x > 0 ? 1 : a)
struct LeakyRelu {
  float a;
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), x, hn::Mul(hn::Set(d, a), x));
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), hn::Set(d, 1.0f), hn::Set(d, a));
  }
};

// y = min(max(x, a), b)    dx = dy 1[a <= x <= b]
struct Clamp {
  float a, b;
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    const V lo = hn::Set(d, a), hi = hn::Set(d, b);
    const V raised = hn::IfThenElse(hn::Lt(x, lo), lo, x);
    return hn::IfThenElse(hn::Gt(raised, hi), hi, raised);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    const auto inside = hn::And(hn::Ge(x, hn::Set(d, a)), hn::Le(x, hn::Set(d, b)));
    return hn::IfThenElseZero(inside, hn::Set(d, 1.0f));
  }
};

// y = min(max(x, 0), 6)    dx = dy 1[0 < x < 6]
struct Relu6 {
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    return Clamp{0.0f, 6.0f}.Value(d, x);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    const auto inside = hn::And(hn::Gt(x, hn::Zero(d)), hn::Lt(x, hn::Set(d, 6.0f)));
    return hn::IfThenElseZero(inside, hn::Set(d, 1.0f));
  }
};

// y = x relu6(x + 3) / 6    dx = dy (x <= -3 ? 0 : x >= 3 ? 1 : (2x + 3) / 6)
struct HardSwish {
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    const V gate = Relu6().Value(d, hn::Add(x, hn::Set(d, 3.0f)));
    return hn::Div(hn::Mul(x, gate), hn::Set(d, 6.0f));
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    const V three = hn::Set(d, 3.0f);
    const V middle = hn::Div(hn::Add(hn::Add(x, x), three), hn::Set(d, 6.0f));
    const V low = hn::IfThenZeroElse(hn::Le(x, hn::Neg(three)), middle);
    return hn::IfThenElse(hn::Ge(x, three), hn::Set(d, 1.0f), low);
  }
};

// The derivative that stands in for sign's: see Ste.
template <Ste kSte, class D, class V>
HWY_INLINE V SteSlope(D d, V x) {
  const V one = hn::Set(d, 1.0f), gap = hn::Sub(one, hn::Abs(x));  // > 0 inside (-1, 1)
  const V zero = hn::Zero(d);
  if constexpr (kSte == Ste::identity) return one;
  if constexpr (kSte == Ste::clip) return hn::IfThenElseZero(hn::Lt(hn::Abs(x), one), one);
  if constexpr (kSte == Ste::triangle) return hn::IfThenElseZero(hn::Gt(gap, zero), gap);
  if constexpr (kSte == Ste::poly) return hn::IfThenElseZero(hn::Gt(gap, zero), hn::Add(gap, gap));
}

// y = x >= 0 ? 1 : -1    dx = dy ste(x)
template <Ste kSte>
struct Sign {
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    const V one = hn::Set(d, 1.0f), zero = hn::Zero(d);
    return hn::IfThenElse(hn::Ge(x, zero), one, hn::IfThenElse(hn::Lt(x, zero), hn::Neg(one), x));
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    return SteSlope<kSte>(d, x);
  }
};

// c = clip(x, -1, 1)    y = sign(c) 1[|c| > a]    dx = dy ste(x).    a is 0.5 as a rule.
template <Ste kSte>
struct Ternary {
  float a;
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    const V one = hn::Set(d, 1.0f);
    const V c = Clamp{-1.0f, 1.0f}.Value(d, x);
    const V inner = hn::IfThenZeroElse(hn::Le(hn::Abs(c), hn::Set(d, a)), c);  // 0, outside, or NaN
    return hn::IfThenElse(hn::Gt(hn::Abs(inner), hn::Zero(d)), hn::CopySign(one, c), inner);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    return SteSlope<kSte>(d, x);
  }
};

// Nearest integer, halves to even or away from zero.
template <Rounding kRounding, class D, class V>
HWY_INLINE V RoundBy(D d, V x) {
  if constexpr (kRounding == Rounding::half_even) return hn::Round(x);
  // Not trunc(x + 0.5): that sum rounds 0.49999997 up to 1. x - trunc(x) is exact.
  const V whole = hn::Trunc(x);
  const V away = hn::Add(whole, hn::CopySign(hn::Set(d, 1.0f), x));
  return hn::IfThenElse(hn::Ge(hn::Abs(hn::Sub(x, whole)), hn::Set(d, 0.5f)), away, whole);
}

// y = round(x)    dx = dy
template <Rounding kRounding>
struct RoundTo {
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    return RoundBy<kRounding>(d, x);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V) const {
    return hn::Set(d, 1.0f);
  }
};

// y = c round(b clamp(a x, 0, 1)) / b    dx = dy a c 1[0 <= a x <= 1]
// k-bit activations of DoReFa-Net (arXiv:1606.06160): b = 2^k - 1, a = c = 1.
template <Rounding kRounding>
struct Quantize {
  float a, b, c;
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    const V levels = hn::Set(d, b);
    const V unit = Clamp{0.0f, 1.0f}.Value(d, hn::Mul(hn::Set(d, a), x));
    const V code = RoundBy<kRounding>(d, hn::Mul(unit, levels));
    // A true division: code * (1 / b) is another number for most codes.
    return hn::Mul(hn::Div(code, levels), hn::Set(d, c));
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    const V u = hn::Mul(hn::Set(d, a), x);
    const auto inside = hn::And(hn::Ge(u, hn::Zero(d)), hn::Le(u, hn::Set(d, 1.0f)));
    return hn::IfThenElseZero(inside, hn::Set(d, a * c));
  }
};

// quantize(relu(x)): the same values, but nothing learns from 0.    dx = dy a c 1[0 < a x <= 1]
template <Rounding kRounding>
struct ReluQuantize {
  float a, b, c;
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    return Quantize<kRounding>{a, b, c}.Value(d, x);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    const V slope = Quantize<kRounding>{a, b, c}.Slope(d, x);
    return hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), slope);
  }
};

// y = x s, s = 1 / (1 + e^-x)    dx = dy s (1 + x (1 - s))
struct Silu {
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    return hn::Mul(x, SigmoidOf(d, x));
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    const V one = hn::Set(d, 1.0f), s = SigmoidOf(d, x);
    return hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one));
  }
};

// y = x Phi(x)    dx = dy (Phi(x) + x phi(x))
struct Gelu {
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    return hn::Mul(x, NormalOf(d, x).cdf);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    const auto normal = NormalOf(d, x);
    return hn::MulAdd(x, normal.density, normal.cdf);
  }
};

// y = 1 / (1 + e^-x)    dx = dy e / (1 + e)^2, e = e^-|x|
struct Logistic {
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    return SigmoidOf(d, x);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    // y (1 - y) would cancel for large x.
    const V e = ExpOf(d, hn::Neg(hn::Abs(x))), sum = hn::Add(hn::Set(d, 1.0f), e);
    return hn::Div(e, hn::Mul(sum, sum));
  }
};

// y = tanh(x)    dx = dy 4 e / (1 + e)^2, e = e^-2|x|
struct HyperbolicTangent {
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    return TanhOf(d, x);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    const V four = hn::Set(d, 4.0f);
    return hn::Mul(four, Logistic().Slope(d, hn::Add(x, x)));
  }
};

// y = e^x    dx = dy e^x
struct Exponential {
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    return ExpOf(d, x);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    return ExpOf(d, x);
  }
};

// y = ln x    dx = dy / x
struct Logarithm {
  template <class D, class V>
  HWY_INLINE V Value(D d, V x) const {
    return LogOf(d, x);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    return hn::Div(hn::Set(d, 1.0f), x);
  }
};

// y = sqrt(x)    dx = dy / (2 sqrt(x))
struct SquareRoot {
  template <class D, class V>
  HWY_INLINE V Value(D, V x) const {
    return hn::Sqrt(x);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    return hn::Div(hn::Set(d, 0.5f), hn::Sqrt(x));
  }
};

// y = |x|    dx = dy (x > 0) - dy (x < 0)
struct Absolute {
  template <class D, class V>
  HWY_INLINE V Value(D, V x) const {
    return hn::Abs(x);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D d, V x) const {
    return hn::IfThenZeroElse(hn::Eq(x, hn::Zero(d)), hn::CopySign(hn::Set(d, 1.0f), x));
  }
};

// y = x^2    dx = dy 2 x
struct Square {
  template <class D, class V>
  HWY_INLINE V Value(D, V x) const {
    return hn::Mul(x, x);
  }
  template <class D, class V>
  HWY_INLINE V Slope(D, V x) const {
    return hn::Add(x, x);
  }
};

/// g(functor) for the functor of a kind with a Ste or a Rounding in its type.
template <template <Ste> class F, class G, class... P>
HWY_INLINE void WithSte(Ste ste, G&& g, P... p) {
  switch (ste) {
    case Ste::identity:
      return g(F<Ste::identity>{p...});
    case Ste::clip:
      return g(F<Ste::clip>{p...});
    case Ste::triangle:
      return g(F<Ste::triangle>{p...});
    case Ste::poly:
      return g(F<Ste::poly>{p...});
  }
}
template <template <Rounding> class F, class G, class... P>
HWY_INLINE void WithRounding(Rounding rounding, G&& g, P... p) {
  if (rounding == Rounding::half_even) return g(F<Rounding::half_even>{p...});
  return g(F<Rounding::half_away>{p...});
}

/// g(functor) for a kind that may be fused.
template <class G>
HWY_INLINE void WithFusable(const Pointwise& p, G&& g) {
  using Kind = Pointwise::Kind;
  switch (p.kind) {
    case Kind::relu:
      return g(Relu{});
    case Kind::leaky_relu:
      return g(LeakyRelu{p.a});
    case Kind::relu6:
      return g(Relu6{});
    case Kind::hard_swish:
      return g(HardSwish{});
    case Kind::clamp:
      return g(Clamp{p.a, p.b});
    case Kind::sign:
      return WithSte<Sign>(p.ste, g);
    case Kind::ternary:
      return WithSte<Ternary>(p.ste, g, p.a);
    case Kind::quantize:
      return WithRounding<Quantize>(p.rounding, g, p.a, p.b, p.c);
    case Kind::relu_quantize:
      return WithRounding<ReluQuantize>(p.rounding, g, p.a, p.b, p.c);
    default:
      return g(Identity{});
  }
}

/// g(functor) for any kind.
template <class G>
HWY_INLINE void WithFunctor(const Pointwise& p, G&& g) {
  using Kind = Pointwise::Kind;
  switch (p.kind) {
    case Kind::silu:
      return g(Silu{});
    case Kind::gelu:
      return g(Gelu{});
    case Kind::sigmoid:
      return g(Logistic{});
    case Kind::tanh:
      return g(HyperbolicTangent{});
    case Kind::exp:
      return g(Exponential{});
    case Kind::log:
      return g(Logarithm{});
    case Kind::sqrt:
      return g(SquareRoot{});
    case Kind::abs:
      return g(Absolute{});
    case Kind::square:
      return g(Square{});
    case Kind::round:
      return WithRounding<RoundTo>(p.rounding, g);
    default:
      return WithFusable(p, g);
  }
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
