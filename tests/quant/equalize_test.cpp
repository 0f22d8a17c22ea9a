#include "quant/equalize.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "models/models.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "quant/attach.h"
#include "quant/fold_bn.h"
#include "quant/scheme.h"
#include "tests/nn/odd_net.h"
#include "tests/support/message.h"

using namespace pare;
using quant::equalize, quant::EqualizeReport;
using test::contains, test::message_of, test::OddNet, test::Parts;

namespace {

Tensor images(const Shape& s, uint64_t seed = 2) {
  Rng rng(seed);
  return Tensor::normal({4, s[0], s[1], s[2]}, rng);
}

/// Random weights whose filters differ in size by up to a thousand times, with biases.
void fill(nn::Layer& model) {
  Rng rng(1);
  nn::init(model, rng, {.zero_bias = false});
  for (const quant::LayerInfo& info : quant::layers(model)) {
    Tensor w = info.weight();
    const int64_t each = w.numel() / w.dim(0);
    for (int64_t o = 0; o < w.dim(0); ++o) {
      const float size = std::pow(10.0f, rng.uniform(-1.5f, 1.5f));
      for (int64_t i = 0; i < each; ++i) w.data()[o * each + i] *= size;
    }
  }
  nn::for_each_layer(model, [&](const std::string&, nn::Layer& layer) {
    auto* bn = layer.as<nn::BatchNorm2d>();
    if (!bn) return;
    bn->weight.uniform_(rng, 0.1f, 2.0f);
    bn->bias.uniform_(rng, -0.5f, 0.5f);
    bn->running_mean.uniform_(rng, -0.5f, 0.5f);
    bn->running_var.uniform_(rng, 0.2f, 2.0f);
  });
}

Tensor eval(nn::Layer& model, const Tensor& x) {
  const nn::EvalMode mode(model);
  const NoGrad guard;
  return model(x);
}

float gap(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  float difference = 0, size = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    difference = std::max(difference, std::fabs(a.data()[i] - b.data()[i]));
    size = std::max(size, std::fabs(a.data()[i]));
  }
  return difference / size;
}

nn::Layer conv(int64_t in, int64_t out, int groups = 1) {
  return nn::Conv2d({.in = in, .out = out, .kernel = 3, .pad = 1, .groups = groups});
}

struct Case {
  std::string name;
  nn::Layer model;
  int64_t equalized;
  Shape image = {8, 8, 3};
};

std::vector<Case> cases() {
  using nn::Sequential;
  std::vector<Case> all;
  all.push_back({"pair", Sequential({conv(3, 6), nn::ReLU(), conv(6, 5)}), 1});
  all.push_back(
      {"depthwise triple",
       Sequential({conv(3, 6), nn::ReLU(), conv(6, 6, 6), nn::LeakyReLU(0.1f), conv(6, 4)}), 2});
  all.push_back({"groups and shuffle",
                 Sequential({conv(3, 12), nn::ReLU(), nn::ChannelShuffle(3), conv(12, 12, 4),
                             nn::ChannelShuffle(4), conv(12, 6, 2)}),
                 2});
  all.push_back(
      {"pools and linear",
       Sequential({conv(3, 6), nn::MaxPool2d({.kernel = 2, .pad = 1}), conv(6, 4), nn::ReLU(),
                   nn::AvgPool2d({.kernel = 2, .stride = 1, .pad = 1}), nn::Flatten(),
                   nn::Linear({.in = 4 * 6 * 6, .out = 7}), nn::ReLU(), nn::Linear({7, 3})}),
       3});
  return all;
}

}  // namespace

TEST_CASE("equalize: the model computes the same, and its channels use their range") {
  for (Case& c : cases()) {
    CAPTURE(c.name);
    fill(c.model);
    const Tensor x = images(c.image), want = eval(c.model, x);
    const EqualizeReport report = equalize(c.model, images(c.image, 3));
    CAPTURE(str(report));
    CHECK(report.equalized() == c.equalized);
    CHECK(gap(want, eval(c.model, x)) < 1e-5f);  // rounding of float32, a few times per layer
    for (const EqualizeReport::Row& row : report.rows) {
      if (row.second.empty()) continue;
      CHECK(row.before > 10);
      CHECK(row.after < 1.01);
    }
  }
}

TEST_CASE("equalize: both ranges of a channel are their geometric mean") {
  nn::Layer model = nn::Sequential({nn::Conv2d({.in = 1, .out = 3, .kernel = 1}), nn::ReLU(),
                                    nn::Conv2d({.in = 3, .out = 2, .kernel = 1, .bias = false})});
  auto& layers = model.as<nn::Sequential>()->layers;
  auto *first = layers[0].as<nn::Conv2d>(), *second = layers[2].as<nn::Conv2d>();
  first->weight.copy_(Tensor::of({8, -0.5f, 0}).view(first->weight.shape()));
  first->bias.copy_(Tensor::of({4, 1, 3}));
  second->weight.copy_(Tensor::of({2, 0.5f, 7, -1, -2, 7}).view(second->weight.shape()));
  const EqualizeReport report = equalize(model, Tensor::ones({1, 2, 2, 1}));
  // s = 2, 1/2; the third channel is dead and stays.
  CHECK(first->weight.view({3}) == Tensor::of({4, -1, 0}));
  CHECK(first->bias == Tensor::of({2, 2, 3}));
  CHECK(second->weight.view({6}) == Tensor::of({4, 0.25f, 7, -2, -1, 7}));
  REQUIRE(report.rows.size() == 2);
  CHECK(report.rows[0].before == doctest::Approx(4));
  CHECK(report.rows[0].after == 1);
  CHECK(report.sweeps == 1);
}

TEST_CASE("equalize: whole networks, batch norms folded") {
  struct Net {
    std::string name;
    models::Options options;
    int64_t equalized;
  };
  const std::vector<Net> nets{
      {"resnet20", {.widths = {4, 8, 8}}, 9},  // the two convolutions of each block
      {"vgg16_bn", {.widths = std::vector<int64_t>(13, 6)}, 13},
      {"nin_gc", {.widths = {32, 32, 32, 64, 64, 64, 64, 64}}, 8},
  };
  for (const Net& net : nets) {
    CAPTURE(net.name);
    nn::Layer model = models::make(net.name, net.options);
    fill(model);
    const Tensor x = images(net.options.image), want = eval(model, x);
    const EqualizeReport before = equalize(model, x);
    CHECK(before.equalized() == 0);
    CHECK(contains(before.rows[0].stayed_because, "(batch_norm) is in between: fold it first"));
    quant::fold_bn(model, x);
    const EqualizeReport report = equalize(model, x);
    CAPTURE(str(report));
    CHECK(report.equalized() == net.equalized);
    CHECK(gap(want, eval(model, x)) < 1e-4f);
  }
}

TEST_CASE("equalize: what cannot be scaled stays, with the reason") {
  struct Odd {
    std::vector<std::pair<std::string, nn::Layer>> layers;
    OddNet::Forward run;
    std::string reason;
  };
  nn::Layer quantized = conv(4, 4);
  quantized.as<nn::Conv2d>()->weight_fn =
      quant::weights("uniform:4", {.path = "b", .conv = quantized.as<nn::Conv2d>()});
  const std::vector<Odd> odd{
      {{{"a", conv(3, 4)}, {"act", nn::ReLU6()}, {"b", conv(4, 4)}},
       [](const Parts& p, const Tensor& x) { return p["b"](p["act"](p["a"](x))); },
       "act (relu6) does not scale along with each of its channels"},
      {{{"a", conv(3, 4)}, {"b", conv(4, 4)}},
       [](const Parts& p, const Tensor& x) { return p["b"](sigmoid(p["a"](x))); },
       "sigmoid (sigmoid) does not scale along with each of its channels"},
      {{{"a", conv(3, 4)}, {"b", conv(4, 4)}},
       [](const Parts& p, const Tensor& x) {
         const Tensor h = relu(p["a"](x));
         return p["b"](h) + h;
       },
       "relu has several readers"},
      {{{"a", conv(3, 4)}, {"b", conv(4, 4)}},
       [](const Parts& p, const Tensor& x) { return p["b"](p["b"](p["a"](x))); },
       "b is used twice"},
      {{{"a", conv(3, 4)}, {"b", quantized}},
       [](const Parts& p, const Tensor& x) { return p["b"](relu(p["a"](x))); },
       "b is quantized already"},
      {{{"a", conv(3, 4)}},
       [](const Parts& p, const Tensor& x) { return p["a"](x); },
       "a is the output"},
  };
  for (const Odd& o : odd) {
    CAPTURE(o.reason);
    nn::Layer model = OddNet(o.layers, o.run);
    fill(model);
    const Tensor x = images({6, 6, 3}), want = eval(model, x);
    const EqualizeReport report = equalize(model, x);
    CHECK(report.equalized() == 0);
    REQUIRE_FALSE(report.rows.empty());
    CHECK(report.rows[0].stayed_because == o.reason);
    CHECK(eval(model, x) == want);
    CHECK(contains(str(report), "stays: " + o.reason));
  }
  nn::Layer empty;
  CHECK(contains(message_of([&] { equalize(empty, Tensor::ones({1, 2, 2, 1})); }), "empty"));
}
