// y = f(x) and dx = dy f'(x); the formulas are in pointwise-inl.h.
#include "core/kernels/highway.h"
//
#include "core/kernels/pointwise.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/pointwise.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "core/kernels/pointwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

void Values(const Pointwise& p, const float* x, float* y, int64_t n) {
  const hn::ScalableTag<float> d;
  WithFunctor(p, [&](auto f) HWY_ATTR {
    Map(
        d, y, n, [&](auto v) HWY_ATTR { return f.Value(d, v); }, x);
  });
}

void Gradients(const Pointwise& p, const float* x, const float* dy, float* dx, int64_t n) {
  const hn::ScalableTag<float> d;
  WithFunctor(p, [&](auto f) HWY_ATTR {
    Map(
        d, dx, n, [&](auto v, auto g) HWY_ATTR { return hn::Mul(g, f.Slope(d, v)); }, x, dy);
  });
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare {
namespace kernels {

HWY_EXPORT(Values);
HWY_EXPORT(Gradients);

void pointwise(const Pointwise& f, const float* x, float* y, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Values)(f, x, y, n);
}

void pointwise_grad(const Pointwise& f, const float* x, const float* dy, float* dx,
                    int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Gradients)(f, x, dy, dx, n);
}

}  // namespace kernels

const char* Pointwise::name() const {
  // In the order of Kind.
  constexpr const char* kNames[] = {"identity", "relu", "leaky_relu", "relu6",    "hard_swish",
                                    "clamp",    "sign", "ternary",    "quantize", "relu_quantize",
                                    "silu",     "gelu", "sigmoid",    "tanh",     "exp",
                                    "log",      "sqrt", "abs",        "square",   "round"};
  return kNames[static_cast<int>(kind)];
}

}  // namespace pare
#endif
