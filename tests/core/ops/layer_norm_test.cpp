#include <doctest/doctest.h>

#include "core/ops.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

TEST_CASE("layer norm centres and scales each row") {
  Rng rng(1);
  const Tensor x = Tensor::normal({4, 5, 64}, rng, 10, 3);
  const Tensor y = layer_norm(x, {}, {});
  CHECK(close(mean(y, {-1}), Tensor::zeros({4, 5}), {.absolute = 1e-6}));
  CHECK(close(var(y, {-1}, false, 0), Tensor::ones({4, 5}), {.relative = 1e-5}));
  const Tensor gamma = Tensor::uniform({64}, rng, 1, 2), beta = Tensor::uniform({64}, rng);
  CHECK(layer_norm(x, gamma, beta) == y * gamma + beta);
  CHECK(close(layer_norm(x, {}, {}, 9.0f),
              (x - mean(x, {-1}, true)) / sqrt(var(x, {-1}, true, 0) + 9.0f), {.relative = 2e-6}));
}

TEST_CASE("layer norm refuses parameters of another size") {
  const Tensor x = Tensor::zeros({2, 8});
  const std::string message = message_of([&] { return layer_norm(x, Tensor::ones({7}), {}); });
  CHECK(contains(message, "layer_norm: gamma and beta must be empty or hold 8 features"));
  CHECK(contains(message, "gamma   [7]"));
  CHECK(contains(message_of([&] { return layer_norm(x, {}, {}, 0); }), "eps must be > 0, got 0"));
}
