#include "prune/penalty.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/prune/cases.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

TEST_CASE("bn_l1: s times the sign of gamma is added to its gradient, and to nothing else") {
  nn::Layer net =
      nn::Sequential({conv(3, 3), nn::BatchNorm2d(3), nn::ReLU(), conv(3, 2), nn::BatchNorm2d(2)});
  randomize(net);
  auto norm = [&](size_t i) { return net.as<nn::Sequential>()->layers[i].as<nn::BatchNorm2d>(); };
  norm(1)->weight.copy_(Tensor::of({0.5f, -2.0f, 0.0f}));
  norm(4)->weight.copy_(Tensor::of({-1.0f, 1.0f}));
  const Tensor penalty = prune::bn_l1(0.5f)(net);
  CHECK(penalty.item() == 0.5f * 4.5f);
  penalty.backward();
  CHECK(norm(1)->weight.grad() == Tensor::of({0.5f, -0.5f, 0.0f}));
  CHECK(norm(4)->weight.grad() == Tensor::of({-0.5f, 0.5f}));
  for (const nn::NamedTensor& p : nn::parameters(net)) {
    const bool gamma = p.name == "1.weight" || p.name == "4.weight";
    CHECK(static_cast<bool>(p.tensor.grad()) == gamma);
  }
  const nn::Layer bare = nn::Sequential({conv(3, 2)});
  CHECK(contains(message_of([&] { prune::bn_l1(1)(bare); }), "no batch norm"));
  CHECK(contains(message_of([] { prune::bn_l1(-1); }), "must not be negative"));
}

TEST_CASE("group_lasso: filters shrink as a whole") {
  nn::Layer net = nn::Sequential({nn::Conv2d({.in = 2, .out = 2, .kernel = 1, .bias = false}),
                                  nn::Flatten(), nn::Linear({2, 1})});
  auto& layers = net.as<nn::Sequential>()->layers;
  Tensor& w = layers[0].as<nn::Conv2d>()->weight;
  Tensor& v = layers[2].as<nn::Linear>()->weight;
  w.copy_(Tensor::of({3, -4, 0, 0}).reshape(w.shape()));
  v.copy_(Tensor::of({6, 8}).reshape(v.shape()));
  const Tensor penalty = prune::group_lasso(0.1f)(net);
  const float root = std::sqrt(2.0f);
  CHECK(penalty.item() == doctest::Approx(0.1 * root * (5 + 0 + 10)).epsilon(1e-5));
  penalty.backward();
  CHECK(close(w.grad().view({4}), Tensor::of({0.06f * root, -0.08f * root, 0, 0}),
              {.absolute = 1e-6}));
  CHECK(close(v.grad().view({2}), Tensor::of({0.06f * root, 0.08f * root}), {.absolute = 1e-6}));
}
