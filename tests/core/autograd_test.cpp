#include "core/autograd.h"

#include <doctest/doctest.h>

#include "core/alloc.h"
#include "core/error.h"
#include "core/ops.h"

using namespace pare;

TEST_CASE("gradients flow to leaves and add up over uses and calls") {
  const Tensor x = Tensor::of({1, 2, 3}).requires_grad_();
  sum(x * x + x).backward();
  CHECK(x.grad() == Tensor::of({3, 5, 7}));
  sum(x * 2.0f).backward();
  CHECK(x.grad() == Tensor::of({5, 7, 9}));
}

TEST_CASE("a diamond is walked once per node") {
  const Tensor x = Tensor::of({2}).requires_grad_();
  const Tensor a = x * 3.0f;
  const Tensor b = a * a, c = a + 1.0f;
  (b * c).backward();  // d/dx 9x^2 (3x + 1) = 81 x^2 + 18 x
  CHECK(x.grad().item() == doctest::Approx(81 * 4 + 36));
}

TEST_CASE("no_grad and detach cut the history") {
  const Tensor x = Tensor::of({1, 2}).requires_grad_();
  CHECK_FALSE(no_grad([&] { return x * 2.0f; }).requires_grad());
  CHECK(grad_enabled());
  CHECK_FALSE((x.detach() * 2.0f).requires_grad());
  sum(x * x.detach()).backward();
  CHECK(x.grad() == Tensor::of({1, 2}));
}

TEST_CASE("an exception leaves recording as it was") {
  try {
    NoGrad guard;
    throw Error("x");
  } catch (const Error&) {
  }
  CHECK(grad_enabled());
}

TEST_CASE("wrong calls are refused") {
  const Tensor x = Tensor::of({1, 2}).requires_grad_();
  Tensor y = x * 2.0f;
  CHECK_THROWS_AS(y.backward(), Error);                     // two elements, no seed
  CHECK_THROWS_AS(y.backward(Tensor::zeros({3})), Error);   // another shape
  CHECK_THROWS_AS(y.requires_grad_(), Error);               // not a leaf
  CHECK_THROWS_AS(sum(Tensor::of({1})).backward(), Error);  // nothing wants a gradient
  const Tensor loss = sum(y);
  loss.backward();
  CHECK_THROWS_AS(loss.backward(), Error);  // history is freed
}

TEST_CASE("a chain of a hundred thousand ops is walked and freed without recursion") {
  const Tensor x = Tensor::of({1}).requires_grad_();
  {
    Tensor y = x;
    for (int i = 0; i < 100000; ++i) y = y + 1.0f;
    y.backward();
  }
  CHECK(x.grad().item() == 1.0f);
  Tensor never_walked = x;
  for (int i = 0; i < 100000; ++i) never_walked = never_walked * 1.0f;
}

namespace {

Tensor small_net(const Tensor& x, const Tensor& w1, const Tensor& gamma, const Tensor& beta,
                 const Tensor& w2) {
  Tensor mean = Tensor::zeros({8}), var = Tensor::ones({8});
  const Tensor h = relu(batch_norm(conv2d(x, w1, {}, {.pad = 1}), gamma, beta, mean, var));
  return linear(global_avg_pool2d(h).reshape({x.dim(0), 8}), w2);
}

}  // namespace

TEST_CASE("a thousand steps leak nothing and, once warm, ask the system for nothing") {
  Rng rng(3);
  Tensor w1 = Tensor::normal({8, 3, 3, 3}, rng).requires_grad_();
  Tensor w2 = Tensor::normal({10, 8}, rng).requires_grad_();
  Tensor gamma = Tensor::ones({8}).requires_grad_(), beta = Tensor::zeros({8}).requires_grad_();
  const Tensor x = Tensor::normal({4, 8, 8, 3}, rng), y = Tensor::of({1, 2, 3, 4});
  const auto step = [&] {
    cross_entropy(small_net(x, w1, gamma, beta, w2), y).backward();
    for (Tensor* p : {&w1, &w2, &gamma, &beta}) p->zero_grad();
  };
  for (int i = 0; i < 3; ++i) step();
  const MemoryStats warm = memory_stats();
  for (int i = 0; i < 1000; ++i) step();
  CHECK(memory_stats().live == warm.live);
  CHECK(memory_stats().system_allocations == warm.system_allocations);
}
