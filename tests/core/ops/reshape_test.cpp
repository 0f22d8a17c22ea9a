#include <doctest/doctest.h>

#include <numeric>
#include <vector>

#include "core/autograd.h"
#include "core/ops.h"
#include "core/ops/common.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

namespace {

/// 0, 1, 2, ... in a shape.
Tensor counting(const Shape& shape) {
  Tensor t = Tensor::uninit(shape);
  std::iota(t.data(), t.data() + t.numel(), 0.0f);
  return t;
}

}  // namespace

TEST_CASE("reshape shares values and sends the gradient back") {
  Tensor x = counting({2, 6}).requires_grad_();
  const Tensor y = x.reshape({3, 4});
  CHECK(y.data() == x.data());
  y.backward(counting({3, 4}));
  CHECK(x.grad() == counting({2, 6}));
  CHECK(contains(message_of([&] {
                   return x.reshape({5, 2});
                 }),
                 "reshape: got 12 elements, expected 10"));
}

TEST_CASE("flatten gives the (C, H, W) order of other frameworks") {
  Tensor x = counting({2, 3, 4, 5}).requires_grad_();
  const Tensor y = flatten(x);
  CHECK(y == nhwc_to_nchw(x).view({2, 60}));
  Rng rng(1);
  const Tensor dy = Tensor::uniform({2, 60}, rng);
  y.backward(dy);
  CHECK(x.grad() == nchw_to_nhwc(dy.view({2, 5, 3, 4})));
  CHECK(flatten(counting({7, 1, 1, 9})) == counting({7, 9}));
  CHECK(flatten(counting({2, 40, 33, 17})) ==
        nhwc_to_nchw(counting({2, 40, 33, 17})).view({2, 40 * 33 * 17}));
  CHECK(flatten(counting({4, 6})) == counting({4, 6}));
  CHECK(contains(message_of([] { return flatten(counting({4})); }), "flatten: got [4]"));
}

TEST_CASE("transpose") {
  const Tensor x = counting({150, 70}), y = transpose(x);
  CHECK(y.shape() == Shape{70, 150});
  for (int64_t i = 0; i < 150; ++i) {
    for (int64_t j = 0; j < 70; ++j) REQUIRE(y.at({j, i}) == x.at({i, j}));
  }
  CHECK(transpose(y) == x);
  CHECK(transpose(counting({1, 5})) == counting({5, 1}));
  CHECK(contains(message_of([] { return transpose(counting({2, 3, 4})); }), "transpose: got"));
}

TEST_CASE("permute puts axes into any order") {
  Tensor x = counting({2, 3, 4, 5}).requires_grad_();
  const Tensor y = permute(x, {2, 0, 3, 1});
  REQUIRE(y.shape() == Shape{4, 2, 5, 3});
  for (int64_t a = 0; a < 4; ++a)
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t c = 0; c < 5; ++c)
        for (int64_t d = 0; d < 3; ++d) REQUIRE(y.at({a, b, c, d}) == x.at({b, d, a, c}));
  y.backward(y.detach());
  CHECK(x.grad() == counting({2, 3, 4, 5}));
}

TEST_CASE("channel_shuffle deals the groups out") {
  Tensor x = Tensor::of({0, 1, 2, 10, 11, 12}).view({1, 1, 1, 6}).requires_grad_();
  const Tensor y = channel_shuffle(x, 2);
  CHECK(y == Tensor::of({0, 10, 1, 11, 2, 12}).view({1, 1, 1, 6}));
  y.backward(y.detach());
  CHECK(x.grad() == x.detach());
  CHECK(channel_shuffle(y, 3) == x.detach());
  const Tensor wide = counting({5, 3, 2, 48});
  CHECK(channel_shuffle(channel_shuffle(wide, 4), 12) == wide);
  CHECK(contains(message_of([&] { return channel_shuffle(x, 4); }),
                 "channel_shuffle: 6 channels do not divide into 4 groups"));
}

TEST_CASE("concat, split, slice and pad along every axis") {
  const Tensor x = counting({3, 4, 5});
  for (int axis : {0, 1, 2, -1}) {
    CAPTURE(axis);
    const int64_t size = x.dim(axis);
    const auto parts = split(x, {1, size - 2, 1}, axis);
    CHECK(parts[1].shape() == x.shape().with(axis, size - 2));
    CHECK(concat(parts, axis) == x);
    CHECK(slice(x, axis, 1, size - 1) == parts[1]);
    const Tensor wide = pad(x, axis, 2, 1, 9.0f);
    CHECK(wide.dim(axis) == size + 3);
    CHECK(slice(wide, axis, 2, 2 + size) == x);
    CHECK(slice(wide, axis, 0, 1) == Tensor::full(x.shape().with(axis, 1), 9.0f));
    CHECK(slice(wide, axis, size + 2, size + 3) == Tensor::full(x.shape().with(axis, 1), 9.0f));
  }
  CHECK(slice(x, 1, 2, 3).at({1, 0, 4}) == x.at({1, 2, 4}));
  CHECK(pad(x, 0, 0, 0) == x);
  CHECK(slice(x, 0, 1, 1).numel() == 0);
}

TEST_CASE("concat, slice and pad send gradients to where the values came from") {
  Tensor a = counting({2, 2}).requires_grad_(), b = counting({2, 1}).requires_grad_();
  concat({a, b}).backward(counting({2, 3}));
  CHECK(a.grad() == Tensor::of({0, 1, 3, 4}).view({2, 2}));
  CHECK(b.grad() == Tensor::of({2, 5}).view({2, 1}));

  Tensor x = counting({2, 3}).requires_grad_();
  slice(x, 1, 1, 2).backward(Tensor::of({7, 8}).view({2, 1}));
  CHECK(x.grad() == Tensor::of({0, 7, 0, 0, 8, 0}).view({2, 3}));

  Tensor y = counting({1, 2}).requires_grad_();
  pad(y, 0, 1, 0).backward(Tensor::of({1, 2, 3, 4}).view({2, 2}));
  CHECK(y.grad() == Tensor::of({3, 4}).view({1, 2}));
}

TEST_CASE("parts that do not fit say so") {
  const Tensor x = counting({2, 3});
  CHECK(contains(message_of([&] {
                   return concat({x, counting({3, 3})}, 1);
                 }),
                 "concat: parts differ in more than axis 1"));
  CHECK(contains(message_of([] { return concat({}); }), "concat: got no parts"));
  CHECK(contains(message_of([&] {
                   return split(x, {1, 1}, 1);
                 }),
                 "split: the sizes add up to 2, axis 1 has 3"));
  CHECK(contains(message_of([&] { return slice(x, 1, 2, 4); }),
                 "slice: got 2 .. 4, expected a range within 0 .. 3"));
  CHECK(contains(message_of([&] { return slice(x, 2, 0, 1); }), "slice: got axis 2"));
  CHECK(contains(message_of([&] { return pad(x, 0, -1, 0); }), "pad: got -1 before"));
}
