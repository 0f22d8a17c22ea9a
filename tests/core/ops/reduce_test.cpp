#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "core/autograd.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

namespace {

struct Groups {
  Shape shape;                              // of the result without kept axes
  std::vector<std::vector<double>> values;  // what each element of the result is made of, in order
};

/// The elements that fall together when the axes in `mask` are reduced.
Groups grouped(const Tensor& x, unsigned mask) {
  std::vector<int64_t> kept;
  for (int i = 0; i < x.dims(); ++i) {
    if (!(mask >> i & 1)) kept.push_back(x.dim(i));
  }
  if (kept.empty()) kept.push_back(1);
  Groups groups{Shape(kept), {}};
  groups.values.resize(static_cast<size_t>(groups.shape.numel()));
  for (int64_t i = 0; i < x.numel(); ++i) {
    int64_t rest = i, at = 0, stride = 1;
    for (int d = x.dims() - 1; d >= 0; --d) {
      if (!(mask >> d & 1)) {
        at += rest % x.dim(d) * stride;
        stride *= x.dim(d);
      }
      rest /= x.dim(d);
    }
    groups.values[static_cast<size_t>(at)].push_back(x.data()[i]);
  }
  return groups;
}

double mean_of(const std::vector<double>& v) {
  double sum = 0;
  for (double d : v) sum += d;
  return sum / static_cast<double>(v.size());
}

double var_of(const std::vector<double>& v, int correction) {
  const double mean = mean_of(v);
  double sum = 0;
  for (double d : v) sum += (d - mean) * (d - mean);
  return sum / static_cast<double>(v.size() - static_cast<size_t>(correction));
}

std::vector<double> each(const Groups& groups,
                         const std::function<double(const std::vector<double>&)>& f) {
  std::vector<double> result;
  for (const auto& v : groups.values) result.push_back(f(v));
  return result;
}

}  // namespace

TEST_CASE("sum, mean, var and max over every set of axes") {
  Rng rng(3);
  const Tensor x = Tensor::uniform({2, 3, 4, 5, 3}, rng, -1, 2);
  for (unsigned mask = 1; mask < 32; ++mask) {
    CAPTURE(mask);
    Axes axes;
    for (int i = 0; i < 5; ++i) {
      if (mask >> i & 1)
        axes.push_back(i % 2 ? i : i - 5);  // counted from the front and from the back
    }
    const Groups want = grouped(x, mask);
    constexpr Tolerance kClose = {.absolute = 1e-7, .relative = 1e-6};
    CHECK(sum(x, axes).shape() == want.shape);
    CHECK(
        close(sum(x, axes),
              each(want, [](const auto& v) { return mean_of(v) * static_cast<double>(v.size()); }),
              kClose));
    CHECK(close(mean(x, axes), each(want, mean_of), kClose));
    CHECK(close(var(x, axes, false, 1), each(want, [](const auto& v) { return var_of(v, 1); }),
                kClose));
    CHECK(close(var(x, axes, false, 0), each(want, [](const auto& v) { return var_of(v, 0); }),
                kClose));
    CHECK(close(max(x, axes),
                each(want, [](const auto& v) { return *std::max_element(v.begin(), v.end()); })));
    Shape kept = x.shape();
    for (int i = 0; i < 5; ++i) {
      if (mask >> i & 1) kept = kept.with(i, 1);
    }
    CHECK(sum(x, axes, true).shape() == kept);
    CHECK(max(x, axes, true) == max(x, axes).view(kept));
  }
}

TEST_CASE("no axes means all of them") {
  const Tensor x = Tensor::of({1, 2, 3, 6}).view({2, 2});
  CHECK(sum(x) == Tensor::of({12}));
  CHECK(mean(x) == Tensor::of({3}));
  CHECK(max(x) == Tensor::of({6}));
  CHECK(sum(x, {}, true).shape() == Shape{1, 1});
  CHECK(close(var(x), Tensor::of({14 / 3.0f}), {.relative = 1e-6}));
}

TEST_CASE("ten million ones add up, and ten million tenths nearly") {
  const Tensor ones = Tensor::ones({10'000'000});
  CHECK(sum(ones).item() == 1e7f);
  CHECK(mean(ones).item() == 1);
  const Tensor tenths = Tensor::full({10'000'000}, 0.1f);
  CHECK(std::abs(sum(tenths).item() - 1e6) < 1.0);  // one ulp is 0.06; a naive sum is off by 8 %
  CHECK(std::abs(sum(tenths.view({1'000'000, 10}), {0}).data()[3] - 1e5) < 0.2);
  CHECK(var(ones).item() == 0);
}

TEST_CASE("max: the gradient goes to the first maximal element, NaN wins") {
  Tensor x = Tensor::of({1, 5, 5, 2, 7, 7}).requires_grad_();
  max(x.reshape({2, 3}), {1}).backward(Tensor::of({10, 20}));
  CHECK(x.grad() == Tensor::of({0, 10, 0, 0, 20, 0}));

  Tensor column = Tensor::of({1, 7, 1, 7}).requires_grad_();
  max(column.reshape({2, 2}), {0}).backward(Tensor::of({10, 20}));
  CHECK(column.grad() == Tensor::of({10, 20, 0, 0}));

  // Reduced axes that lie apart: "first" still means first in memory.
  Tensor apart = Tensor::of({0, 3, 1, 1, 3, 3, 2, 2}).requires_grad_();
  max(apart.reshape({2, 2, 2}), {0, 2}).backward(Tensor::of({10, 20}));
  CHECK(apart.grad() == Tensor::of({0, 10, 0, 0, 0, 0, 20, 0}));

  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(max(Tensor::of({1, nan, 3})).item()));
  CHECK(std::isnan(sum(Tensor::of({1, nan, 3})).item()));
  Tensor many = Tensor::zeros({200'000});
  many.data()[150'000] = nan;
  CHECK(std::isnan(max(many).item()));
}

TEST_CASE("maxima of long rows find the first of equals across tasks") {
  Tensor x = Tensor::zeros({300'000});
  x.data()[70'000] = x.data()[140'000] = 2;
  x.requires_grad_();
  max(x).backward();
  CHECK(x.grad().data()[70'000] == 1);
  CHECK(sum(x.grad()).item() == 1);
}

TEST_CASE("reductions refuse wrong axes and empty sets") {
  const Tensor x = Tensor::zeros({2, 3});
  CHECK(contains(message_of([&] { return sum(x, {2}); }), "sum: got axis 2, expected -2 .. 1"));
  CHECK(contains(message_of([&] { return mean(x, {1, -1}); }), "mean: axis -1 is named twice"));
  CHECK(contains(message_of([&] {
                   return max(Tensor::zeros({2, 0}), {1});
                 }),
                 "max: over 0 elements"));
  CHECK(contains(message_of([&] {
                   return var(Tensor::zeros({2, 1}), {1});
                 }),
                 "var: over 1 elements, expected more than the correction 1"));
  CHECK(contains(message_of([&] { return mean(Tensor::zeros({0})); }), "mean: over no elements"));
  CHECK(sum(Tensor::zeros({2, 0}), {1}) == Tensor::of({0, 0}));
}
