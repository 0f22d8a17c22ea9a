#pragma once
// Every unary function the library knows, as data: one formula for the value, one for the
// derivative, used by the plain ops and by the fused normalize pass alike. The formulas are in
// pointwise-inl.h.

#include <cstdint>

namespace pare {

/// What stands in for the derivative of sign(x), g = dL/dy:
///   identity  g                        (plain straight-through)
///   clip      g * 1[|x| < 1]           (saturating; BinaryConnect / BNN, arXiv:1602.02830)
///   triangle  g * max(0, 1 - |x|)      (soft)
///   poly      g * max(0, 2 - 2|x|)     (approximate sign; Bi-Real Net, arXiv:1808.00278)
enum class Ste : uint8_t { identity, clip, triangle, poly };

/// How halves are rounded.
enum class Rounding : uint8_t { half_even, half_away };

struct Pointwise {
  enum class Kind : uint8_t {
    identity,
    relu,
    leaky_relu,
    relu6,
    hard_swish,
    clamp,
    sign,
    ternary,
    quantize,
    relu_quantize,  // so far cheap: may be fused
    silu,
    gelu,
    sigmoid,
    tanh,
    exp,
    log,
    sqrt,
    abs,
    square,
    round  // the rest
  };
  Kind kind = Kind::identity;
  Ste ste = Ste::clip;                      // sign, ternary
  Rounding rounding = Rounding::half_even;  // round, quantize
  float a = 0, b = 0, c = 0;                // see the formula of each kind

  bool fusable() const { return kind <= Kind::relu_quantize; }
  /// Whether x <= y means f(x) <= f(y); false where nobody has asked so far.
  bool rising() const {
    return kind == Kind::identity || kind == Kind::relu || kind == Kind::relu6 ||
           kind == Kind::clamp || (kind == Kind::leaky_relu && a >= 0);
  }
  const char* name() const;
};

namespace kernels {

/// y = f(x). In place allowed.
void pointwise(const Pointwise& f, const float* x, float* y, int64_t n) noexcept;
/// dx = dy * f'(x). In place (dx = dy) allowed.
void pointwise_grad(const Pointwise& f, const float* x, const float* dy, float* dx,
                    int64_t n) noexcept;

}  // namespace kernels
}  // namespace pare
