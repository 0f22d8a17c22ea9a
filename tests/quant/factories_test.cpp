#include "quant/factories.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "tests/support/message.h"

namespace pare {
namespace {

TEST_CASE("factories: a quantized network reads like any other, and trains") {
  nn::Layer model = nn::Sequential({
      nn::Conv2d({.in = 3, .out = 8, .pad = 1}),
      nn::BatchNorm2d(8),
      quant::binary_conv2d({.in = 8, .out = 8, .pad = 1, .bias = false}),
      nn::BatchNorm2d(8),
      quant::ternary_conv2d({.in = 8, .out = 8, .kernel = 1}, {.weight = {.gap = 0.5f}}),
      nn::BatchNorm2d(8),
      quant::dorefa_conv2d({.in = 8, .out = 8, .stride = 2, .pad = 1},
                           {.weight_bits = 4, .input_bits = 2}),
      nn::BatchNorm2d(8),
      quant::binary_conv2d({.in = 8, .out = 8, .groups = 4}, {.xnor_scale = true}),
      nn::GlobalAvgPool2d(),
      nn::Flatten(),
      quant::binary_linear({.in = 8, .out = 8}, {.xnor_scale = true}),
      quant::ternary_linear({.in = 8, .out = 8}, {.input = false}),
      quant::dorefa_linear({.in = 8, .out = 4}, {.weight_bits = 8, .input_bits = 32}),
  });
  Rng rng(1);
  nn::init(model, rng);
  const Tensor x = Tensor::normal({2, 8, 8, 3}, rng), target = Tensor::of({0, 3});
  const Tensor y = model(x);
  CHECK(y.shape() == Shape{2, 4});
  cross_entropy(y, target).backward();
  for (const nn::NamedTensor& p : nn::parameters(model)) {
    CAPTURE(p.name);
    CHECK(p.tensor.grad());
  }
}

TEST_CASE("factories: sockets hold what the options say") {
  const auto conv = [](const nn::Layer& layer) { return layer.as<nn::Conv2d>(); };
  const nn::Layer b = quant::binary_conv2d({.in = 4, .out = 4}, {.ste = Ste::poly});
  REQUIRE(conv(b));
  CHECK(conv(b)->weight_fn.as<quant::BinaryWeight>());
  CHECK(conv(b)->input_fn.as<quant::BinaryActivation>()->ste == Ste::poly);

  const nn::Layer t = quant::ternary_conv2d({.in = 4, .out = 4}, {.input = false});
  CHECK(conv(t)->weight_fn.as<quant::TernaryWeight>());
  CHECK_FALSE(conv(t)->input_fn);

  const nn::Layer d = quant::dorefa_conv2d(
      {.in = 4, .out = 4},
      {.weight_bits = 32, .input_bits = 4, .form = quant::DorefaForm::micronet});
  CHECK_FALSE(conv(d)->weight_fn);
  CHECK(conv(d)->input_fn.as<quant::DorefaActivation>()->prescale() == 0.1f);
  CHECK(conv(d)->input_fn.as<quant::DorefaActivation>()->bits() == 4);

  CHECK(quant::binary_conv2d({.in = 4, .out = 4}, {.xnor_scale = true}).as<quant::XnorConv2d>());
  using test::contains, test::message_of;
  CHECK(contains(message_of([] { quant::dorefa_linear({.in = 4, .out = 4}, {.weight_bits = 0}); }),
                 "1 to 16"));
}

}  // namespace
}  // namespace pare
