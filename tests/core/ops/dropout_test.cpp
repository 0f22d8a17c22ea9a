#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

TEST_CASE("dropout zeroes a share of p and keeps the mean") {
  const int64_t n = 200'000;
  const float p = 0.3f;
  Rng rng(4);
  const Tensor y = dropout(Tensor::ones({n}), p, rng);
  int64_t zeros = 0;
  for (float v : y.span()) {
    CHECK_UNARY(v == 0 || v == 1 / (1 - p));
    zeros += v == 0;
  }
  // Five standard deviations of a binomial count.
  CHECK(std::abs(static_cast<double>(zeros) - n * 0.3) < 5 * std::sqrt(n * 0.3 * 0.7));
}

TEST_CASE("dropout's backward uses the same mask") {
  Rng rng(5);
  Tensor x = Tensor::ones({1000}).requires_grad_();
  const Tensor y = dropout(x, 0.5f, rng);
  y.backward(Tensor::full({1000}, 3.0f));
  for (int64_t i = 0; i < 1000; ++i) CHECK(x.grad().data()[i] == 3 * y.data()[i]);
}

TEST_CASE("dropout advances the generator by one number per element") {
  Rng used(6), skipped(6);
  const Tensor x = Tensor::ones({37});
  const Tensor first = dropout(x, 0.5f, used), second = dropout(x, 0.5f, used);
  CHECK(!(first == second));
  for (int i = 0; i < 74; ++i) skipped.next();
  CHECK(used.state() == skipped.state());
  Rng again(6);
  CHECK(dropout(x, 0.5f, again) == first);
}

TEST_CASE("dropout's mask does not depend on the number of threads") {
  const int before = num_threads();
  const Tensor x = Tensor::ones({100'003});
  set_num_threads(1);
  Rng a(7), b(7);
  const Tensor one = dropout(x, 0.4f, a);
  set_num_threads(3);
  const Tensor three = dropout(x, 0.4f, b);
  set_num_threads(before);
  CHECK(one == three);
}

TEST_CASE("dropout takes probabilities in [0, 1)") {
  Rng rng(8);
  const Tensor x = Tensor::ones({10});
  CHECK(dropout(x, 0, rng) == x);
  for (float p : {1.0f, -0.1f, std::nanf("")}) {
    CHECK(contains(message_of([&] { return dropout(x, p, rng); }), "dropout: got probability"));
  }
}
