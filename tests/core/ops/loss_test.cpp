#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "core/autograd.h"
#include "core/kernels/ref.h"
#include "core/ops.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

TEST_CASE("softmax over the last axis of any shape") {
  Rng rng(1);
  const Tensor x = Tensor::normal({2, 3, 4, 5}, rng);
  const Tensor p = softmax(x);
  CHECK(close(sum(p, {-1}), Tensor::ones({2, 3, 4}), {.relative = 1e-6}));
  CHECK(close(log(p), log_softmax(x), {.absolute = 1e-6}));
  CHECK(softmax(Tensor::of({1000, 1000})) == Tensor::of({0.5f, 0.5f}));
}

TEST_CASE("cross entropy: indices, smoothing, probabilities") {
  Rng rng(2);
  const int64_t rows = 6, classes = 5;
  Tensor z = Tensor::normal({rows, classes}, rng, 0, 3).requires_grad_();
  Tensor indices = Tensor::uninit({rows}), soft = Tensor::uniform({rows, classes}, rng);
  for (int64_t n = 0; n < rows; ++n) indices.data()[n] = static_cast<float>(rng.below(classes));
  for (float smoothing : {0.0f, 0.2f}) {
    for (const Tensor& target : {indices, soft}) {
      double loss = 0;
      std::vector<double> slope;
      for (int64_t n = 0; n < rows; ++n) {
        std::vector<double> t(static_cast<size_t>(classes));
        for (int64_t c = 0; c < classes; ++c) {
          t[static_cast<size_t>(c)] =
              target.dims() == 2 ? target.at({n, c}) : target.at({n}) == static_cast<float>(c);
        }
        const auto row = z.span().subspan(static_cast<size_t>(n * classes), size_t{classes});
        const ref::Loss want = ref::cross_entropy(row, t, double{smoothing});
        loss += want.value / rows;
        for (double s : want.slope) slope.push_back(3 * s / rows);
      }
      z.zero_grad();
      const Tensor got = cross_entropy(z, target, smoothing);
      (3 * got).backward();
      CHECK(got.item() == doctest::Approx(loss).epsilon(1e-6));
      CHECK(close(z.grad(), slope, {.relative = 2e-6}));
      CHECK(no_grad([&] { return cross_entropy(z, target, smoothing); }).item() ==
            doctest::Approx(got.item()).epsilon(1e-6));
    }
  }
}

TEST_CASE("cross entropy does not overflow, and shows NaN") {
  const Tensor z = Tensor::of({1000, -1000, 0, 0}).view({2, 2});
  CHECK(cross_entropy(z, Tensor::of({0, 1})).item() == doctest::Approx(std::log(2.0) / 2));
  CHECK(cross_entropy(z, Tensor::of({1, 1})).item() == doctest::Approx((2000 + std::log(2.0)) / 2));
  CHECK(std::isnan(cross_entropy(z * std::nanf(""), Tensor::of({0, 1})).item()));
}

TEST_CASE("cross entropy refuses targets that are not") {
  const Tensor z = Tensor::zeros({3, 10});
  const auto message = [&](const Tensor& target) {
    return message_of([&] { return cross_entropy(z, target); });
  };
  CHECK(contains(message(Tensor::of({0, 10, 0})),
                 "cross_entropy: target 1 is 10, expected an integer in 0 .. 9"));
  CHECK(contains(message(Tensor::of({0, 1, -1})), "target 2 is -1"));
  CHECK(contains(message(Tensor::of({0.5f, 1, 1})), "target 0 is 0.5"));
  CHECK(contains(message(Tensor::of({std::nanf(""), 1, 1})), "target 0 is"));
  const std::string shape = message(Tensor::zeros({4}));
  CHECK(contains(shape, "fits neither [N] class indices nor [N, classes] probabilities"));
  CHECK(contains(shape, "target  [4]"));
  CHECK(contains(message_of([] { return cross_entropy(Tensor::zeros({3}), Tensor::zeros({3})); }),
                 "cross_entropy: got logits of shape [3], expected [N, classes]"));
  CHECK(contains(message_of([&] { return cross_entropy(z, Tensor::zeros({3}), 1.5f); }),
                 "label smoothing 1.5"));
  CHECK(contains(message(Tensor::zeros({3, 10}).requires_grad_()), "detach()"));
}

TEST_CASE("mse is the mean of squared differences") {
  Tensor a = Tensor::of({1, 2, 3, 4}).requires_grad_(),
         b = Tensor::of({1, 0, 3, 8}).requires_grad_();
  const Tensor loss = mse_loss(a, b);
  CHECK(loss.item() == 5);
  loss.backward();
  CHECK(a.grad() == Tensor::of({0, 1, 0, -2}));
  CHECK(b.grad() == Tensor::of({0, -1, 0, 2}));
  CHECK(contains(message_of([&] {
                   return mse_loss(a, Tensor::zeros({2, 2}));
                 }),
                 "mse_loss: expected two tensors of one shape"));
}
