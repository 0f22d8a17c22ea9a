// A watched backward(): when each leaf's gradient is said to be finished.

#include <doctest/doctest.h>

#include <map>

#include "core/autograd.h"
#include "core/ops.h"
#include "tests/support/message.h"

using namespace pare;

namespace {

struct Watch final : GradWatcher {
  void finished(const Tensor& leaf) override {
    order.push_back(leaf.id());
    values[leaf.id()] = leaf.grad() ? leaf.grad().clone() : Tensor{};
  }
  void progress() override { ++ops; }

  std::vector<const void*> order;
  std::map<const void*, Tensor> values;  // as they were when finished
  int ops = 0;
};

Tensor leaf(float a, float b) { return Tensor::of({a, b}).requires_grad_(); }

}  // namespace

TEST_CASE("a leaf is finished after the last of its uses, later layers first") {
  Tensor early = leaf(1, 2), late = leaf(3, 5), twice = leaf(7, 11);
  const Tensor loss = sum((early * twice) * late * twice);
  Watch watch;
  backward(loss, Tensor::ones({1}), watch);
  REQUIRE(watch.order.size() == 3);
  CHECK(watch.order[0] == late.id());
  for (const Tensor* t : {&early, &late, &twice}) CHECK(watch.values.at(t->id()) == t->grad());
  CHECK(twice.grad() == Tensor::of({2 * 3 * 7, 2 * 2 * 5 * 11}));
  CHECK(watch.ops == 4);
}

TEST_CASE("a leaf that no gradient reaches is finished in the end, without one") {
  Tensor used = leaf(1, 2), blocked = leaf(3, 4);
  Tensor zero = record("stop", Tensor::zeros({2}), {blocked},
                       [](const Tensor&, Needs) -> Grads { return {Tensor{}}; });
  Watch watch;
  backward(sum(used + zero), Tensor::ones({1}), watch);
  REQUIRE(watch.order.size() == 2);
  CHECK(watch.values.at(used.id()) == Tensor::ones({2}));
  CHECK_FALSE(watch.values.at(blocked.id()));
}

TEST_CASE("behind a node without gradient leaves are finished last") {
  Tensor used = leaf(1, 2), behind = leaf(3, 4);
  const Tensor inner = behind * behind;
  Tensor zero = record("stop", Tensor::zeros({2}), {inner},
                       [](const Tensor&, Needs) -> Grads { return {Tensor{}}; });
  Watch watch;
  backward(sum(zero + used), Tensor::ones({1}), watch);
  CHECK(watch.order == std::vector<const void*>{used.id(), behind.id()});
  CHECK_FALSE(behind.grad());
}

TEST_CASE("watched or not, the gradients are the same, and a leaf is its own result") {
  Tensor x = leaf(2, -1);
  const auto f = [&] { return sum(square(x) * x); };
  f().backward();
  const Tensor want = x.grad();
  x.zero_grad();
  Watch watch;
  backward(f(), Tensor::ones({1}), watch);
  CHECK(x.grad() == want);
  backward(x, Tensor::ones({2}), watch);
  CHECK(watch.order.size() == 2);
  CHECK(test::contains(test::message_of([&] { backward(x, Tensor::ones({3}), watch); }), "seed"));
}
