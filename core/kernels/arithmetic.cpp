#include "core/kernels/highway.h"
//
#include "core/kernels/arithmetic.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/arithmetic.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

struct Plus {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Add(a, b);
  }
};
struct Minus {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Sub(a, b);
  }
};
struct Times {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Mul(a, b);
  }
};
struct Over {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Div(a, b);
  }
};

template <class Op>
HWY_INLINE void Rows(Op op, Operand a, Operand b, float* y, int64_t rows, int64_t n) {
  const hn::ScalableTag<float> d;
  for (int64_t r = 0; r < rows; ++r, y += n) {
    const float *p = a.data + r * a.row, *q = b.data + r * b.row;
    if (a.step && b.step) {
      Map(d, y, n, op, p, q);
    } else if (a.step) {
      const auto v = hn::Set(d, *q);
      Map(
          d, y, n, [&](auto u) HWY_ATTR { return op(u, v); }, p);
    } else if (b.step) {
      const auto u = hn::Set(d, *p);
      Map(
          d, y, n, [&](auto v) HWY_ATTR { return op(u, v); }, q);
    } else {
      const auto u = hn::Set(d, *p), v = hn::Set(d, *q);
      Map(d, y, n, [&]() HWY_ATTR { return op(u, v); });
    }
  }
}

void ArithmeticRows(Arithmetic op, Operand a, Operand b, float* y, int64_t rows, int64_t n) {
  switch (op) {
    case Arithmetic::add:
      return Rows(Plus(), a, b, y, rows, n);
    case Arithmetic::sub:
      return Rows(Minus(), a, b, y, rows, n);
    case Arithmetic::mul:
      return Rows(Times(), a, b, y, rows, n);
    case Arithmetic::div:
      return Rows(Over(), a, b, y, rows, n);
  }
}

void Accumulate(const float* x, float* y, int64_t n) {
  Map(hn::ScalableTag<float>(), y, n, Plus(), y, x);
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(ArithmeticRows);
HWY_EXPORT(Accumulate);

void arithmetic(Arithmetic op, Operand a, Operand b, float* y, int64_t rows, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(ArithmeticRows)(op, a, b, y, rows, n);
}

void accumulate(const float* x, float* y, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Accumulate)(x, y, n);
}

}  // namespace pare::kernels
#endif
