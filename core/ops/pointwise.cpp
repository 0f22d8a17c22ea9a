// y = f(x), dx = dy f'(x); the formulas are in core/kernels/pointwise-inl.h.

#include "core/autograd.h"
#include "core/deferred.h"
#include "core/error.h"
#include "core/grid.h"
#include "core/kernels/arithmetic.h"
#include "core/ops.h"
#include "core/ops/change_blocks.h"
#include "core/ops/common.h"

namespace pare {

using Kind = Pointwise::Kind;

namespace {

/// What observers know the numbers of a kind by; null: it has none.
struct Names {
  const char *a = nullptr, *b = nullptr, *c = nullptr, *rounding = nullptr;
};

Names names_of(Kind kind) {
  switch (kind) {
    case Kind::leaky_relu:
      return {.a = "slope"};
    case Kind::clamp:
      return {.a = "lo", .b = "hi"};
    case Kind::ternary:
      return {.a = "threshold"};
    case Kind::quantize:
    case Kind::relu_quantize:
      return {.a = "prescale", .b = "levels", .c = "scale", .rounding = "rounding"};
    case Kind::round:
      return {.rounding = "rounding"};
    default:
      return {};
  }
}

/// What the values of a kind are multiples of.
GridPtr grid_of(const Pointwise& f) {
  switch (f.kind) {
    case Kind::sign:
    case Kind::ternary:
      return integer_grid(-1, 1, {1});
    case Kind::quantize:
    case Kind::relu_quantize:
      return integer_grid(0, f.b, {f.c / f.b});
    default:
      return nullptr;
  }
}

const char* word(Rounding r) { return r == Rounding::half_even ? "half_even" : "half_away"; }

/// Element by element into y, x where it lies or while it is computed.
void apply(const Pointwise& f, const Tensor& x, float* y) {
  if (pending_blocks(x) > 0) {
    const int64_t C = x.dim(-1);
    settle(x,
           [&](const Block& b) { kernels::pointwise(f, b.values, y + b.first * C, b.rows * C); });
    return;
  }
  const float* px = x.data();
  parallel_for(x.numel(), kGrain,
               [&](Range r) { kernels::pointwise(f, px + r.begin, y + r.begin, r.size()); });
}

/// Codes of an x that stays in memory for its own derivative: made by whoever copies its input.
struct Applied final : Deferred {
  Applied(const Pointwise& function, const Tensor& input) : f(function), x(input.detach()) {}
  void run(float* y) const override { apply(f, x, y); }
  std::optional<kernels::Source> source() const override {
    return kernels::Source{.x = x.data(), .f = f};
  }
  Pointwise f;
  Tensor x;
};

Tensor forward(const Pointwise& f, const Tensor& x) {
  const bool quantizes =
      f.kind == Kind::sign || f.kind == Kind::ternary || f.kind == Kind::quantize;
  if (quantizes && fusion_enabled()) {
    return Tensor::deferred(x.shape(), std::make_shared<Applied>(f, x), {x});
  }
  Tensor y = Tensor::uninit(x.shape());
  apply(f, x, y.data());
  return y;
}

/// dx; a gradient that is still to be computed, for nobody else, becomes it block by block in
/// cache, where what other readers of x left is added, and the next op may go on.
Tensor backward(const Pointwise& f, const Tensor& x, const Tensor& dy, Needs need) {
  if (dy.unique() && pending_blocks(dy) > 0) {
    const Tensor other = need.take(0);
    return change_blocks(dy, {x, other}, [f, x, other](const Block& b) {
      const int64_t at = b.first * x.dim(-1), n = b.rows * x.dim(-1);
      kernels::pointwise_grad(f, x.data() + at, b.values, b.values, n);
      if (other) kernels::accumulate(other.data() + at, b.values, n);
    });
  }
  Tensor dx = reuse(dy);
  const float *from = x.data(), *g = dy.data();
  float* to = dx.data();
  parallel_for(dy.numel(), kGrain, [&](Range r) {
    kernels::pointwise_grad(f, from + r.begin, g + r.begin, to + r.begin, r.size());
  });
  return dx;
}

Tensor computed(const Pointwise& f, const Tensor& x) {
  if (f.fusable() && fusion_enabled()) {
    const auto work = x.pending();
    if (Tensor y = work ? work->then(f) : Tensor{}) return y;
  }
  const Names n = names_of(f.kind);
  return record(f.name(), {{n.a, f.a}, {n.b, f.b}, {n.c, f.c}, {n.rounding, word(f.rounding)}},
                forward(f, x), {x}, [f, x = x.detach()](const Tensor& dy, Needs need) -> Grads {
                  return {backward(f, x, dy, need)};
                });
}

}  // namespace

Tensor pointwise(const Pointwise& f, const Tensor& x) {
  Tensor y = computed(f, x);
  y.set_grid(grid_of(f));
  return y;
}

Tensor relu(const Tensor& x) { return pointwise({.kind = Kind::relu}, x); }
Tensor leaky_relu(const Tensor& x, float slope) {
  return pointwise({.kind = Kind::leaky_relu, .a = slope}, x);
}
Tensor relu6(const Tensor& x) { return pointwise({.kind = Kind::relu6}, x); }
Tensor hard_swish(const Tensor& x) { return pointwise({.kind = Kind::hard_swish}, x); }
Tensor silu(const Tensor& x) { return pointwise({.kind = Kind::silu}, x); }
Tensor gelu(const Tensor& x) { return pointwise({.kind = Kind::gelu}, x); }
Tensor sigmoid(const Tensor& x) { return pointwise({.kind = Kind::sigmoid}, x); }
Tensor tanh(const Tensor& x) { return pointwise({.kind = Kind::tanh}, x); }
Tensor exp(const Tensor& x) { return pointwise({.kind = Kind::exp}, x); }
Tensor log(const Tensor& x) { return pointwise({.kind = Kind::log}, x); }
Tensor sqrt(const Tensor& x) { return pointwise({.kind = Kind::sqrt}, x); }
Tensor abs(const Tensor& x) { return pointwise({.kind = Kind::abs}, x); }
Tensor square(const Tensor& x) { return pointwise({.kind = Kind::square}, x); }

Tensor clamp(const Tensor& x, float lo, float hi) {
  PARE_CHECK(lo <= hi, "clamp: the lower bound ", lo, " is above the upper bound ", hi);
  return pointwise({.kind = Kind::clamp, .a = lo, .b = hi}, x);
}
Tensor sign(const Tensor& x, Ste ste) { return pointwise({.kind = Kind::sign, .ste = ste}, x); }
Tensor round(const Tensor& x, Rounding rounding) {
  return pointwise({.kind = Kind::round, .rounding = rounding}, x);
}

}  // namespace pare
