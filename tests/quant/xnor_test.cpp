#include "quant/xnor.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "quant/binary.h"
#include "quant/factories.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using test::close;

Tensor random(const Shape& shape, uint64_t seed) {
  Rng rng(seed);
  return Tensor::uniform(shape, rng, -1.0f, 1.0f);
}

struct Geometry {
  int kernel, stride, pad, groups;
};

/// K [N, OH, OW, groups] from its definition: |x| averaged over the channels of a group and over
/// the window, padding counted as zeros.
Tensor scale_of(const Tensor& x, const Geometry& g) {
  const int64_t N = x.dim(0), H = x.dim(1), W = x.dim(2), C = x.dim(3), per = C / g.groups;
  const int64_t OH = (H + 2 * g.pad - g.kernel) / g.stride + 1;
  const int64_t OW = (W + 2 * g.pad - g.kernel) / g.stride + 1;
  std::vector<float> k;
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t oh = 0; oh < OH; ++oh) {
      for (int64_t ow = 0; ow < OW; ++ow) {
        for (int64_t group = 0; group < g.groups; ++group) {
          double sum = 0;
          for (int64_t i = 0; i < g.kernel * g.kernel * per; ++i) {
            const int64_t h = oh * g.stride - g.pad + i / per / g.kernel;
            const int64_t w = ow * g.stride - g.pad + i / per % g.kernel;
            if (h < 0 || h >= H || w < 0 || w >= W) continue;
            sum += std::fabs(x.at({n, h, w, group * per + i % per}));
          }
          k.push_back(static_cast<float>(sum / static_cast<double>(g.kernel * g.kernel * per)));
        }
      }
    }
  }
  return Tensor::of(k, {N, OH, OW, g.groups});
}

TEST_CASE("xnor: the output is scaled by K per position and group, the bias is not") {
  for (const Geometry& g :
       {Geometry{3, 1, 1, 1}, Geometry{3, 2, 1, 2}, Geometry{1, 1, 0, 1}, Geometry{5, 1, 2, 4}}) {
    CAPTURE(g.kernel);
    CAPTURE(g.groups);
    nn::Conv2d conv({.in = 8,
                     .out = 12,
                     .kernel = g.kernel,
                     .stride = g.stride,
                     .pad = g.pad,
                     .groups = g.groups});
    conv.weight.copy_(random(conv.weight.shape(), 1));
    conv.bias.copy_(random({12}, 2));
    conv.weight_fn = quant::BinaryWeight({.in_place = false});  // it is used twice
    conv.input_fn = quant::BinaryActivation();
    const Tensor x = random({2, 7, 6, 8}, 3);
    nn::Conv2d plain = conv;
    plain.bias = {};
    const Tensor y = plain.forward(x), k = scale_of(x, g);
    Tensor want = y.clone();
    for (int64_t i = 0; i < want.numel(); ++i) {
      const int64_t channel = i % 12, position = i / 12;
      const int64_t group = channel / (12 / g.groups);
      want.data()[i] = want.data()[i] * k.data()[position * g.groups + group];
      want.data()[i] += conv.bias.data()[channel];
    }
    const nn::Layer wrapped = quant::XnorConv2d(std::move(conv));
    CHECK(close(wrapped(x), want, {.relative = 1e-6}));
  }
}

TEST_CASE("xnor: gradients flow through K") {
  // Without quantizers y = conv(x) mean|x| is smooth away from zero: finite differences may judge
  // it.
  nn::Conv2d conv({.in = 2, .out = 3, .kernel = 3, .pad = 1, .bias = false});
  conv.weight.copy_(random(conv.weight.shape(), 4));
  const nn::Layer layer = quant::XnorConv2d(std::move(conv));
  Tensor x = random({1, 4, 4, 2}, 5);
  for (float& v : x.span()) v += v > 0 ? 0.2f : -0.2f;
  const Tensor dy = random({1, 4, 4, 3}, 6), u = random(x.shape(), 7);
  const auto value = [&](float eps) {
    const Tensor y = no_grad([&] { return layer(x + u * eps); });
    double total = 0;
    for (int64_t i = 0; i < y.numel(); ++i) total += double{y.data()[i]} * dy.data()[i];
    return total;
  };
  x.requires_grad_();
  layer(x).backward(dy);
  double slope = 0;
  for (int64_t i = 0; i < x.numel(); ++i) slope += double{x.grad().data()[i]} * u.data()[i];
  constexpr float kEps = 1e-2f;
  // The sums are rounded to 1e-7 of about 1; the quotient to 1e-5.
  CHECK(slope == doctest::Approx((value(kEps) - value(-kEps)) / (2 * kEps)).epsilon(1e-3));
}

TEST_CASE("xnor: a linear layer has one scale per row") {
  nn::Linear linear({.in = 4, .out = 2});
  linear.weight.copy_(random({2, 4}, 8));
  linear.bias.copy_(Tensor::of({0.5f, -0.5f}));
  const Tensor weight = linear.weight.clone(), x = random({3, 4}, 9);
  const nn::Layer wrapped = quant::XnorLinear(std::move(linear));
  const Tensor y = wrapped(x), plain = pare::linear(x, weight);
  for (int64_t n = 0; n < 3; ++n) {
    float k = 0;
    for (int64_t i = 0; i < 4; ++i) k += std::fabs(x.at({n, i})) / 4;
    CHECK(y.at({n, 0}) == doctest::Approx(plain.at({n, 0}) * k + 0.5f).epsilon(1e-6));
    CHECK(y.at({n, 1}) == doctest::Approx(plain.at({n, 1}) * k - 0.5f).epsilon(1e-6));
  }
}

TEST_CASE("xnor: parameters keep their values and share storage with the layer they came from") {
  nn::Conv2d conv({.in = 2, .out = 3});
  const Tensor weight = conv.weight, bias = conv.bias;
  const nn::Layer wrapped = quant::XnorConv2d(std::move(conv));
  const auto p = nn::parameters(wrapped);
  REQUIRE(p.size() == 2);
  CHECK(p[0].name == "conv.weight");
  CHECK(p[0].tensor.id() == weight.id());
  CHECK(p[1].name == "bias");
  CHECK(p[1].tensor.id() == bias.id());
}

TEST_CASE("xnor: dilation and wrong inputs are refused") {
  using test::contains, test::message_of;
  const nn::Conv2d dilated({.in = 2, .out = 3, .dilation = 2});
  CHECK(contains(message_of([&] { quant::XnorConv2d{dilated}; }), "dilation 1"));
  const nn::Layer layer = quant::XnorConv2d(nn::Conv2d({.in = 2, .out = 3}));
  CHECK(contains(message_of([&] { layer(Tensor::ones({1, 4, 4, 5})); }), "[1, 4, 4, 5]"));
}

}  // namespace
}  // namespace pare
