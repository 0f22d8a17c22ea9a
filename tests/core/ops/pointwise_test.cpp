// Rules that stand in for a derivative are tested against what is written, and kinks at the kink.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/ops.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

namespace {

/// d sum(2 f(x)) / dx: a seed other than one.
template <class F>
Tensor gradient(F&& f, std::initializer_list<float> values) {
  Tensor x = Tensor::of(values).requires_grad_();
  f(x).backward(Tensor::full(x.shape(), 2.0f));
  return x.grad();
}

}  // namespace

TEST_CASE("sign and its straight-through rules") {
  CHECK(sign(Tensor::of({-2, -0.0f, 0, 0.3f, 7})) == Tensor::of({-1, 1, 1, 1, 1}));
  const std::initializer_list<float> x = {-2, -1, -0.75f, 0, 0.25f, 1, 3};
  const auto rule = [&](Ste ste) {
    return gradient([&](const Tensor& t) { return sign(t, ste); }, x);
  };
  CHECK(rule(Ste::identity) == Tensor::of({2, 2, 2, 2, 2, 2, 2}));
  CHECK(rule(Ste::clip) == Tensor::of({0, 0, 2, 2, 2, 0, 0}));
  CHECK(rule(Ste::triangle) == Tensor::of({0, 0, 0.5f, 2, 1.5f, 0, 0}));
  CHECK(rule(Ste::poly) == Tensor::of({0, 0, 1, 4, 3, 0, 0}));
}

TEST_CASE("ternary: zero up to the threshold, sign beyond") {
  const Pointwise f = {.kind = Pointwise::Kind::ternary, .ste = Ste::clip, .a = 0.5f};
  CHECK(pointwise(f, Tensor::of({-3, -0.6f, -0.5f, 0, 0.5f, 0.51f, 2})) ==
        Tensor::of({-1, -1, 0, 0, 0, 1, 1}));
  CHECK(gradient([&](const Tensor& t) { return pointwise(f, t); }, {-3, -0.6f, 0, 0.9f, 1}) ==
        Tensor::of({0, 2, 2, 2, 0}));
}

TEST_CASE("quantize: DoReFa activations and their gradient") {
  const Pointwise two_bits = {.kind = Pointwise::Kind::quantize, .a = 1, .b = 3, .c = 1};
  CHECK(pointwise(two_bits, Tensor::of({-1, 0.1f, 0.2f, 0.5f, 0.9f, 2})) ==
        Tensor::of({0, 0, 1 / 3.0f, 2 / 3.0f, 1, 1}));  // 1.5 rounds to even: 2
  CHECK(gradient([&](const Tensor& t) { return pointwise(two_bits, t); }, {-1, 0, 0.4f, 1, 1.1f}) ==
        Tensor::of({0, 2, 2, 2, 0}));

  const Pointwise scaled = {.kind = Pointwise::Kind::quantize,
                            .rounding = Rounding::half_away,
                            .a = 0.1f,
                            .b = 1,
                            .c = 10};
  CHECK(pointwise(scaled, Tensor::of({4.9f, 5, 20})) == Tensor::of({0, 10, 10}));
  CHECK(close(gradient([&](const Tensor& t) { return pointwise(scaled, t); }, {-1, 5, 20}),
              Tensor::of({0, 2, 0}), {.relative = 1e-6}));
}

TEST_CASE("round passes its gradient on") {
  const std::initializer_list<float> x = {-1.5f, -0.5f, 0.5f, 1.5f, 2.5f, 0.49999997f};
  CHECK(round(Tensor::of(x)) == Tensor::of({-2, 0, 0, 2, 2, 0}));
  CHECK(round(Tensor::of(x), Rounding::half_away) == Tensor::of({-2, -1, 1, 2, 3, 0}));
  CHECK(gradient([](const Tensor& t) { return round(t); }, x) == Tensor::full({6}, 2.0f));
}

TEST_CASE("derivatives at kinks") {
  CHECK(gradient([](const Tensor& t) { return relu(t); }, {-1, 0, 1}) == Tensor::of({0, 0, 2}));
  CHECK(gradient([](const Tensor& t) { return relu6(t); }, {0, 1, 6}) == Tensor::of({0, 2, 0}));
  CHECK(gradient([](const Tensor& t) { return leaky_relu(t, 0.5f); }, {-1, 0, 1}) ==
        Tensor::of({1, 1, 2}));
  CHECK(gradient([](const Tensor& t) { return clamp(t, -1, 2); }, {-1.1f, -1, 0, 2, 2.1f}) ==
        Tensor::of({0, 2, 2, 2, 0}));
  CHECK(gradient([](const Tensor& t) { return abs(t); }, {-3, 0, 3}) == Tensor::of({-2, 0, 2}));
  CHECK(gradient([](const Tensor& t) { return hard_swish(t); }, {-3, 0, 3}) ==
        Tensor::of({0, 1, 2}));
}

TEST_CASE("NaN passes through, so that a training loop sees it") {
  const Tensor x = Tensor::full({20}, std::numeric_limits<float>::quiet_NaN());
  for (const Tensor& y :
       {relu(x), relu6(x), leaky_relu(x), hard_swish(x), clamp(x, 0, 1), sign(x), round(x), abs(x),
        silu(x), gelu(x), sigmoid(x), tanh(x), exp(x), log(x), sqrt(x), square(x)}) {
    for (float v : y.span()) CHECK(std::isnan(v));
  }
}

TEST_CASE("nothing is recorded without need") {
  const Tensor x = Tensor::ones({3});
  CHECK(!relu(x).requires_grad());
  Tensor w = Tensor::ones({3});
  w.requires_grad_();
  CHECK(relu(w).requires_grad());
  CHECK(!no_grad([&] { return relu(w); }).requires_grad());
}

TEST_CASE("a backward that works in place leaves shared gradients alone") {
  Tensor x = Tensor::of({1, 2, 3}).requires_grad_();
  const Tensor h = x * 2.0f;
  (relu(h) + square(h)).backward(Tensor::ones({3}));  // both branches get one and the same dy
  CHECK(x.grad() == Tensor::of({2 + 8, 2 + 16, 2 + 24}));
}

TEST_CASE("clamp refuses bounds the wrong way round") {
  CHECK(contains(message_of([] { return clamp(Tensor::zeros({1}), 2, 1); }),
                 "clamp: the lower bound 2 is above the upper bound 1"));
}
