#include "nn/layers.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "nn/init.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::nn;
using test::contains;
using test::message_of;

namespace {

Tensor image(const Shape& shape, uint64_t seed = 3) {
  Rng rng(seed);
  return Tensor::normal(shape, rng);
}

/// Doubles its input: a transform that can be seen.
struct Twice final : Module {
  Tensor forward(const Tensor& x) override { return 2.0f * x; }
  std::string describe() const override { return "Twice"; }
};

template <class M>
M filled(M module, uint64_t seed = 11) {
  Rng rng(seed);
  module.weight.normal_(rng, 0, 0.5f);
  if (module.bias) module.bias.normal_(rng, 0, 0.5f);
  return module;
}

}  // namespace

TEST_CASE("constructors allocate parameters that want gradients") {
  const Conv2d conv({.in = 8, .out = 6, .kernel = {3, 5}, .groups = 2});
  CHECK(conv.weight.shape() == Shape{6, 3, 5, 4});
  CHECK(conv.bias.shape() == Shape{6});
  CHECK(conv.weight.requires_grad());
  CHECK(conv.bias.requires_grad());
  CHECK_FALSE(Conv2d({.in = 1, .out = 1, .bias = false}).bias);

  const ConvTranspose2d up({.in = 8, .out = 6, .kernel = 4, .groups = 2});
  CHECK(up.weight.shape() == Shape{8, 4, 4, 3});
  CHECK(up.bias.shape() == Shape{6});
  CHECK(up.weight.requires_grad());

  const Linear linear({.in = 5, .out = 3});
  CHECK(linear.weight.shape() == Shape{3, 5});
  CHECK(linear.bias.requires_grad());

  const BatchNorm2d bn(4);
  CHECK(bn.weight == Tensor::ones({4}));
  CHECK(bn.running_var == Tensor::ones({4}));
  CHECK(bn.bias.requires_grad());
  CHECK_FALSE(bn.running_mean.requires_grad());
  CHECK_FALSE(BatchNorm2d(4, {.affine = false}).weight);
}

TEST_CASE("layers compute their op with their options") {
  const Tensor x = image({2, 7, 6, 4});
  Conv2d conv = filled(Conv2d({.in = 4, .out = 6, .stride = {2, 1}, .pad = 1, .groups = 2}));
  CHECK(conv.forward(x) ==
        conv2d(x, conv.weight, conv.bias, {.stride = {2, 1}, .pad = 1, .groups = 2}));

  ConvTranspose2d up =
      filled(ConvTranspose2d({.in = 4, .out = 3, .stride = 2, .pad = 1, .output_pad = 1}));
  CHECK(up.forward(x) ==
        conv_transpose2d(x, up.weight, up.bias, {.stride = 2, .pad = 1, .output_pad = 1}));

  Linear linear = filled(Linear({.in = 4, .out = 3}));
  const Tensor rows = image({5, 4});
  CHECK(linear.forward(rows) == pare::linear(rows, linear.weight, linear.bias));

  CHECK(MaxPool2d({.kernel = 3, .stride = 2, .pad = 1}).forward(x) ==
        max_pool2d(x, {.kernel = 3, .stride = 2, .pad = 1}));
  CHECK(AvgPool2d({.kernel = 3, .stride = 1}).forward(x) ==
        avg_pool2d(x, {.kernel = 3, .stride = 1}));
  CHECK(ChannelShuffle(2).forward(x) == channel_shuffle(x, 2));
  CHECK(LeakyReLU(0.3f).forward(x) == leaky_relu(x, 0.3f));
  CHECK(HardSwish().forward(x) == hard_swish(x));
  CHECK(Sequential({ReLU(), Flatten()}).forward(x) == flatten(relu(x)));
}

TEST_CASE("sockets transform weights and inputs") {
  const Tensor x = image({1, 5, 5, 2});
  Conv2d conv = filled(Conv2d({.in = 2, .out = 3}));
  const Tensor plain = conv.forward(x);
  conv.weight_fn = Twice();
  CHECK(conv.forward(x) == conv2d(x, 2.0f * conv.weight, conv.bias));
  CHECK_FALSE(conv.forward(x) == plain);
  conv.input_fn = Twice();
  CHECK(conv.forward(x) == conv2d(2.0f * x, 2.0f * conv.weight, conv.bias));
  sum(conv.forward(x)).backward();
  CHECK(conv.weight.grad().shape() == conv.weight.shape());

  Linear linear = filled(Linear({.in = 4, .out = 3}));
  linear.weight_fn = Twice();
  linear.input_fn = Twice();
  const Tensor rows = image({5, 4});
  CHECK(linear.forward(rows) == pare::linear(2.0f * rows, 2.0f * linear.weight, linear.bias));
}

TEST_CASE("batch norm learns statistics while training and uses them afterwards") {
  BatchNorm2d bn(3, {.momentum = 0.5f});
  const Tensor x = image({4, 3, 3, 3}) + 2.0f;
  const Tensor y = bn.forward(x);
  const Tensor batch_mean = mean(x, {0, 1, 2}), batch_var = var(x, {0, 1, 2});
  for (int c = 0; c < 3; ++c) {
    CHECK(mean(y, {0, 1, 2}).at({c}) == doctest::Approx(0).epsilon(1e-5));
    CHECK(bn.running_mean.at({c}) == doctest::Approx(0.5 * batch_mean.at({c})).epsilon(1e-5));
    CHECK(bn.running_var.at({c}) == doctest::Approx(0.5 + 0.5 * batch_var.at({c})).epsilon(1e-5));
  }
  bn.training = false;
  const Tensor kept = bn.running_mean.clone();
  const float want =
      (x.at({1, 2, 0, 1}) - kept.at({1})) / std::sqrt(bn.running_var.at({1}) + 1e-5f);
  CHECK(bn.forward(x).at({1, 2, 0, 1}) == doctest::Approx(want).epsilon(1e-5));
  CHECK(bn.running_mean == kept);
}

TEST_CASE("dropout acts while training only, from its own generator") {
  Dropout drop(0.25f);
  drop.rng = Rng(4);
  const Tensor x = Tensor::ones({1000});
  const Tensor a = drop.forward(x), b = drop.forward(x);
  CHECK_FALSE(a == b);
  int64_t zeros = 0;
  for (float v : a.span()) {
    zeros += v == 0;
    CHECK((v == 0 || v == doctest::Approx(1 / 0.75f)));
  }
  CHECK(zeros > 190);  // binomial(1000, 1/4): mean 250, deviation 14
  CHECK(zeros < 310);
  drop.training = false;
  CHECK(drop.forward(x) == x);
}

TEST_CASE("wrong options are refused with a reason") {
  const auto conv = [](const Conv2dOptions& o) { return message_of([&] { Conv2d{o}; }); };
  CHECK(contains(conv({.in = 6, .out = 8, .groups = 4}), "6 -> 8 channels cannot be cut into 4"));
  CHECK(contains(conv({.in = 0, .out = 8}), "channels must be positive"));
  CHECK(contains(conv({.in = 1, .out = 1, .kernel = {3, 0}}), "kernel must be positive, got 3x0"));
  CHECK(contains(conv({.in = 1, .out = 1, .stride = 0}), "stride"));
  CHECK(contains(conv({.in = 1, .out = 1, .pad = -1}), "pad"));
  CHECK(contains(conv({.in = 1, .out = 1, .dilation = 0}), "dilation"));
  CHECK(contains(conv({.in = 1, .out = 1, .groups = 0}), "groups"));
  CHECK(conv({.in = 6, .out = 8, .groups = 2}).empty());
  const auto up = [](const ConvTranspose2dOptions& o) {
    return message_of([&] { ConvTranspose2d{o}; });
  };
  CHECK(contains(up({.in = 1, .out = 1, .stride = 2, .output_pad = 2}), "output_pad"));
  CHECK(up({.in = 1, .out = 1, .stride = 2, .output_pad = 1}).empty());
  CHECK(contains(message_of([] { Linear({.in = 3, .out = 0}); }), "features"));
  CHECK(contains(message_of([] { BatchNorm2d(0); }), "channels"));
  CHECK(contains(message_of([] { BatchNorm2d(1, {.momentum = 2}); }), "momentum"));
  CHECK(contains(message_of([] { LayerNorm(0); }), "features"));
  CHECK(contains(message_of([] { Dropout(1.0f); }), "p must be"));
  CHECK(contains(message_of([] { ChannelShuffle(0); }), "groups"));
  CHECK(contains(message_of([] { LeakyReLU(-1); }), "slope"));
}

TEST_CASE("descriptions show what is not at its default") {
  CHECK(Conv2d({.in = 3, .out = 192, .kernel = 5, .pad = 2}).describe() ==
        "Conv2d(3, 192, kernel=5, pad=2)");
  CHECK(Conv2d({.in = 4, .out = 4, .kernel = {1, 3}, .groups = 4, .bias = false}).describe() ==
        "Conv2d(4, 4, kernel=1x3, groups=4, bias=false)");
  Conv2d conv({.in = 4, .out = 4});
  conv.weight_fn = Twice();
  conv.input_fn = Twice();
  CHECK(conv.describe() == "Conv2d(4, 4, kernel=3, weight=Twice, input=Twice)");
  CHECK(ConvTranspose2d({.in = 4, .out = 2, .stride = 2, .output_pad = 1}).describe() ==
        "ConvTranspose2d(4, 2, kernel=3, stride=2, output_pad=1)");
  CHECK(Linear({.in = 4, .out = 2}).describe() == "Linear(4, 2)");
  CHECK(BatchNorm2d(4, {.momentum = 0.2f}).describe() == "BatchNorm2d(4, momentum=0.2)");
  CHECK(MaxPool2d({.kernel = 3, .stride = 2, .pad = 1}).describe() ==
        "MaxPool2d(3, stride=2, pad=1)");
  CHECK(ReLU().describe() == "ReLU");
  CHECK(LeakyReLU(0.2f).describe() == "LeakyReLU(0.2)");
  CHECK(Activation({.kind = Pointwise::Kind::square}).describe() == "Activation(square)");
  CHECK(LayerNorm(7).describe() == "LayerNorm(7)");
  CHECK(Dropout(0.5f).describe() == "Dropout(0.5)");
}
