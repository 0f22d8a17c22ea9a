#include <doctest/doctest.h>

#include <algorithm>

#include "core/alloc.h"
#include "core/error.h"
#include "core/ops.h"
#include "core/parallel.h"

using namespace pare;

TEST_CASE("a tensor is a shared handle; clone and copy_ make values of their own") {
  Tensor a = Tensor::of({1, 2, 3});
  Tensor b = a, c = a.clone();
  a.fill_(7);
  CHECK(b == Tensor::of({7, 7, 7}));
  CHECK(c == Tensor::of({1, 2, 3}));
  CHECK_FALSE(a.unique());
  CHECK(c.unique());
  CHECK_FALSE(c.detach().unique());
  c.copy_(a);
  CHECK(c == a);
}

TEST_CASE("misuse is refused with the shapes in the message") {
  const Tensor t = Tensor::zeros({2, 3});
  CHECK_THROWS_WITH_AS(t.item(), "tensor: item() needs one element, shape is [2, 3]", Error);
  CHECK_THROWS_AS(t.at({2, 0}), Error);
  CHECK_THROWS_AS(t.view({7}), Error);
  CHECK_THROWS_AS(Tensor().shape(), Error);
  CHECK_THROWS_AS((Shape{1, 2, 3, 4, 5, 6}), Error);
  CHECK(t.at({1, 2}) == 0.0f);
  CHECK(t.dim(-1) == 3);
}

TEST_CASE("layout changes at the border are each other's inverse") {
  Rng rng(1);
  const Tensor nchw = Tensor::normal({2, 3, 4, 5}, rng);
  const Tensor nhwc = nchw_to_nhwc(nchw);
  CHECK(nhwc.shape() == Shape{2, 4, 5, 3});
  CHECK(nhwc.at({1, 2, 3, 1}) == nchw.at({1, 1, 2, 3}));
  CHECK(nhwc_to_nchw(nhwc) == nchw);
}

TEST_CASE("random fills are the same for any number of threads and differ by stream") {
  const auto draw = [](int threads) {
    set_num_threads(threads);
    Rng rng(5);
    const Tensor first = Tensor::normal({100000}, rng);
    return std::pair(first, Tensor::uniform({100000}, rng, -1, 1));
  };
  const auto one = draw(1), five = draw(5);
  set_num_threads(0);
  CHECK(one.first == five.first);
  CHECK(one.second == five.second);
  Rng other(5, 1);
  CHECK_FALSE(one.first == Tensor::normal({100000}, other));
}

TEST_CASE("uniform and normal have the moments they should") {
  Rng rng(2);
  const Tensor n = Tensor::normal({200000}, rng, 3, 2), u = Tensor::uniform({200000}, rng, -1, 3);
  // Five standard errors of the mean and of the variance.
  CHECK(mean(n).item() == doctest::Approx(3).epsilon(0.0075));
  CHECK(var(n).item() == doctest::Approx(4).epsilon(0.016));
  CHECK(mean(u).item() == doctest::Approx(1).epsilon(0.013));
  CHECK(var(u).item() == doctest::Approx(16.0 / 12).epsilon(0.01));
  CHECK(*std::min_element(u.data(), u.data() + u.numel()) >= -1.0f);
  CHECK(*std::max_element(u.data(), u.data() + u.numel()) < 3.0f);
}

TEST_CASE("blocks are aligned, reused, and counted") {
  release_cached_memory();
  const size_t live = memory_stats().live, system = memory_stats().system_allocations;
  for (int i = 0; i < 10; ++i) {
    const Tensor t = Tensor::uninit({1000});
    CHECK(reinterpret_cast<uintptr_t>(t.data()) % 64 == 0);
    CHECK(memory_stats().live >= live + 4000);
  }
  CHECK(memory_stats().live == live);
  CHECK(memory_stats().system_allocations == system + 1);
}
