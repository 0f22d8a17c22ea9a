#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "core/autograd.h"
#include "core/ops.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

namespace {

/// Element `index` of the result looked up in an operand that is stretched to it.
float stretched(const Tensor& t, const Shape& shape, int64_t index) {
  int64_t offset = 0, stride = 1;
  for (int i = 1; i <= shape.dims(); ++i) {
    const int64_t at = index % shape.dim(-i);
    index /= shape.dim(-i);
    if (i > t.dims()) continue;
    if (t.dim(-i) > 1) offset += at * stride;
    stride *= t.dim(-i);
  }
  return t.data()[offset];
}

}  // namespace

TEST_CASE("broadcasting follows the sizes from the back") {
  struct Case {
    Shape a, b, y;
  };
  const std::vector<Case> cases = {
      {{3, 4}, {3, 4}, {3, 4}},
      {{3, 4}, {4}, {3, 4}},
      {{4}, {3, 4}, {3, 4}},
      {{3, 1}, {1, 4}, {3, 4}},
      {{2, 1, 4, 1}, {3, 1, 5}, {2, 3, 4, 5}},
      {{2, 3, 4, 5}, {2, 1, 1, 5}, {2, 3, 4, 5}},
      {{2, 3, 1, 1}, {2, 3, 4, 5}, {2, 3, 4, 5}},
      {{2, 1, 3, 1, 2}, {4, 1, 3, 2}, {2, 4, 3, 3, 2}},
      {{1, 1}, {3, 4}, {3, 4}},
      {{1}, {1, 1, 1}, {1, 1, 1}},
      {{3, 0}, {1}, {3, 0}},
      {{40, 70, 30}, {70, 1}, {40, 70, 30}},
  };
  Rng rng(1);
  for (const Case& c : cases) {
    CAPTURE(c.a);
    CAPTURE(c.b);
    const Tensor a = Tensor::uniform(c.a, rng, 1, 2), b = Tensor::uniform(c.b, rng, 1, 2);
    const Tensor sum = a + b, difference = a - b, product = a * b, quotient = a / b;
    REQUIRE(sum.shape() == c.y);
    for (int64_t i = 0; i < sum.numel(); ++i) {
      const float p = stretched(a, c.y, i), q = stretched(b, c.y, i);
      REQUIRE(sum.data()[i] == p + q);
      REQUIRE(difference.data()[i] == p - q);
      REQUIRE(product.data()[i] == p * q);
      REQUIRE(quotient.data()[i] == p / q);
    }
  }
}

TEST_CASE("arithmetic with numbers") {
  const Tensor x = Tensor::of({1, -2, 4});
  CHECK(x + 1.0f == Tensor::of({2, -1, 5}));
  CHECK(1.0f - x == Tensor::of({0, 3, -3}));
  CHECK(2.0f * x == Tensor::of({2, -4, 8}));
  CHECK(-x == Tensor::of({-1, 2, -4}));
  CHECK(x / 3.0f == Tensor::of({1 / 3.0f, -2 / 3.0f, 4 / 3.0f}));  // a true division
  CHECK(8.0f / x == Tensor::of({8, -4, 2}));
}

TEST_CASE("gradients of stretched operands are sums") {
  Tensor a = Tensor::of({1, 2, 3, 4, 5, 6}).reshape({2, 3}).clone().requires_grad_();
  Tensor b = Tensor::of({10, 20, 30}).requires_grad_();
  (a * b).backward(Tensor::of({1, 1, 1, 2, 2, 2}).view({2, 3}));
  CHECK(a.grad() == Tensor::of({10, 20, 30, 20, 40, 60}).view({2, 3}));
  CHECK(b.grad() == Tensor::of({1 + 8, 2 + 10, 3 + 12}));
}

TEST_CASE("an operand used twice gets both gradients, and the seed stays as it was") {
  Tensor x = Tensor::of({1, 2, 3}).requires_grad_();
  const Tensor seed = Tensor::of({1, 10, 100});
  (x * x + x).backward(seed);
  CHECK(x.grad() == Tensor::of({3, 50, 700}));
  CHECK(seed == Tensor::of({1, 10, 100}));
}

TEST_CASE("shapes that do not match say so") {
  const std::string message = message_of([] {
    return Tensor::zeros({2, 3}) + Tensor::zeros({2, 4});
  });
  CHECK(contains(message, "add: sizes 3 and 4 of axis -1 do not match"));
  CHECK(contains(message, "a       [2, 3]"));
  CHECK(contains(message, "b       [2, 4]"));
  CHECK(contains(message_of([] { return Tensor::zeros({2}) / Tensor{}; }), "empty tensor"));
}
