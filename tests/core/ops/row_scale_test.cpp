#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/deferred.h"
#include "core/ops.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

namespace {

Tensor random(const Shape& shape, uint64_t seed) {
  Rng rng(seed);
  return Tensor::normal(shape, rng);
}

}  // namespace

TEST_CASE("mean_abs and scale_rows are their formulas, for any width of a group") {
  for (int64_t n : {1, 3, 8, 15, 16, 17, 37, 100}) {
    for (int64_t groups : {1, 3}) {
      CAPTURE(n);
      CAPTURE(groups);
      const Tensor x = random({5, groups * n}, 1), k = random({5, groups}, 2);
      const Tensor a = mean_abs(x, static_cast<int>(groups)), y = scale_rows(x, k);
      for (int64_t i = 0; i < 5 * groups; ++i) {
        double sum = 0;
        for (int64_t j = i * n; j < (i + 1) * n; ++j) {
          sum += std::fabs(x.data()[j]);
          CHECK(y.data()[j] == x.data()[j] * k.data()[i]);
        }
        CHECK(a.data()[i] == doctest::Approx(sum / static_cast<double>(n)).epsilon(1e-6));
      }
    }
  }
}

TEST_CASE("zeros give no slope: |x| at 0, and a scale of 0") {
  Tensor x = Tensor::of({0.0f, -0.0f, 2.0f, -4.0f}).view({1, 4}).requires_grad_();
  mean_abs(x).backward(Tensor::of({8.0f}).view({1, 1}));
  CHECK(x.grad() == Tensor::of({0.0f, 0.0f, 2.0f, -2.0f}).view({1, 4}));
  const Tensor rows = Tensor::of({1.0f, 2.0f, 3.0f, 4.0f}).view({2, 2}).requires_grad_();
  const Tensor k = Tensor::of({0.0f, 2.0f}).view({2, 1}).requires_grad_();
  scale_rows(rows, k).backward(Tensor::ones({2, 2}));
  CHECK(k.grad() == Tensor::of({0.0f, 7.0f}).view({2, 1}));
  CHECK(rows.grad() == Tensor::of({0.0f, 0.0f, 2.0f, 2.0f}).view({2, 2}));
}

TEST_CASE("scale_rows of a convolution is one pass, and still right when its input changes") {
  Tensor x = random({2, 6, 6, 4}, 3);
  const Tensor w = random({8, 3, 3, 4}, 4), k = random({2, 6, 6, 2}, 5);
  const ConvOptions same{.pad = 1};
  const Tensor plain = conv2d(x, w, {}, same);
  const Tensor want = scale_rows(plain.clone(), k);
  const Tensor y = scale_rows(conv2d(x, w, {}, same), k);
  CHECK((pending_blocks(y) > 0) == fusion_enabled());
  x.fill_(7);  // y is computed before
  CHECK(pending_blocks(y) == 0);
  CHECK(close(y, want, {.relative = 1e-6}));
}

TEST_CASE("mean_abs and scale_rows refuse shapes that do not fit") {
  const Tensor x = Tensor::ones({2, 3, 6});
  CHECK(contains(message_of([&] { mean_abs(x, 4); }), "6 channels cannot be cut into 4 groups"));
  CHECK(contains(message_of([&] { mean_abs(Tensor::ones({6})); }), "expected [..., C]"));
  const auto refused = [&](const Shape& k) {
    return contains(message_of([&] { scale_rows(x, Tensor::ones(k)); }), "k [..., groups]");
  };
  CHECK(refused({2, 3, 4}));
  CHECK(refused({2, 1, 3}));
  CHECK(refused({2, 3}));
}
