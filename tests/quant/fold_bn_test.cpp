#include "quant/fold_bn.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "models/models.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "nn/optim.h"
#include "quant/binary.h"
#include "quant/scheme.h"
#include "tests/nn/odd_net.h"
#include "tests/support/message.h"

using namespace pare;
using quant::fold_bn;
using quant::FoldReport;
using quant::FoldRule;
using test::contains;
using test::OddNet;
using test::Parts;

namespace {

Tensor images(int64_t n, const Shape& s, uint64_t seed = 2) {
  Rng rng(seed);
  return Tensor::normal({n, s[0], s[1], s[2]}, rng);
}

/// A few steps on noise: running statistics, gamma and beta that are not what they were at first.
void train(nn::Layer& model, const Shape& image) {
  Rng rng(3);
  const auto optimizer = nn::adam(nn::param_groups(model, 0.0f), {.lr = 0.02f});
  for (uint64_t step = 0; step < 3; ++step) {
    const Tensor x = images(6, image, 10 + step);
    cross_entropy(model(x), Tensor::of({0, 1, 2, 3, 4, 5})).backward();
    optimizer->step();
    optimizer->zero_grad();
  }
  // Training moves gamma by little: give it all signs.
  nn::for_each_layer(model, [&](const std::string&, nn::Layer& layer) {
    auto* bn = layer.as<nn::BatchNorm2d>();
    if (!bn || !bn->weight) return;
    bn->weight.uniform_(rng, -1.5f, 1.5f);
    bn->bias.uniform_(rng, -0.5f, 0.5f);
  });
}

Tensor eval(nn::Layer& model, const Tensor& x) {
  const nn::EvalMode mode(model);
  const NoGrad guard;
  return model(x);
}

/// The largest difference, as a part of the largest value.
float gap(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  float difference = 0, size = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    difference = std::max(difference, std::fabs(a.data()[i] - b.data()[i]));
    size = std::max(size, std::fabs(a.data()[i]));
  }
  return difference / size;
}

int norms_in(nn::Layer& model) {
  int count = 0;
  nn::for_each_layer(model, [&](const std::string&, nn::Layer& layer) {
    count += layer.as<nn::BatchNorm2d>() != nullptr;
  });
  return count;
}

struct Case {
  std::string name;
  models::Options options = {};
  std::string quant = {};
  int stays = 0;  // batch norms that cannot be folded
};

nn::Layer ready(const Case& c) {
  nn::Layer model = models::make(c.name, c.options);
  Rng rng(1);
  nn::init(model, rng, models::init_options(c.name));
  if (!c.quant.empty()) quant::apply(model, quant::parse_scheme(c.quant));
  train(model, c.options.image);
  return model;
}

const std::vector<int64_t> kNin{6, 5, 4, 6, 6, 6, 6, 6}, kGc{32, 32, 32, 64, 64, 64, 64, 64};

nn::Layer norm(int64_t channels) { return nn::BatchNorm2d(channels); }
nn::Layer conv(int64_t in, int64_t out) {
  return nn::Conv2d({.in = in, .out = out, .kernel = 3, .pad = 1, .bias = false});
}

}  // namespace

TEST_CASE("folding leaves every trained float model the same function") {
  const std::vector<Case> cases{
      {"nin", {.widths = kNin}},
      {"nin", {.widths = kNin, .order = "cbpa"}},
      {"nin", {.widths = kNin, .order = "acbp"}},
      {"nin", {.widths = kNin, .order = "bacp"}, "", 8},  // in front of the convolutions
      {"nin_gc", {.widths = kGc}},
      {"resnet20", {.widths = {4, 8, 8}}},
      {"resnet20", {.widths = {4, 8, 8}, .shortcut = "A"}},
      {"resnet18", {.widths = {4, 8, 8, 8}}},
      {"resnet50", {.widths = {4, 4, 4, 4}}},
      {"vgg16_bn", {.widths = std::vector<int64_t>(13, 6)}},
      {"lenet5", {.image = {28, 28, 1}}},
      {"mobilenet_v1", {}},
      {"mobilenet_v2", {}},
      {"efficientnet_lite0", {}},
      {"regnet_x_600mf", {}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    CAPTURE(c.options.order);
    nn::Layer model = ready(c);
    const int before = norms_in(model);
    const Tensor x = images(4, c.options.image);
    const Tensor want = eval(model, x);
    const FoldReport report = fold_bn(model, images(1, c.options.image));
    CAPTURE(str(report));
    CHECK(report.rows.size() == static_cast<size_t>(before));
    CHECK(report.folded() == before - c.stays);
    CHECK(norms_in(model) == c.stays);
    // Rounding of w' and b' in float32, once per layer.
    CHECK(gap(want, eval(model, x)) < 2e-5f);
    for (const FoldReport::Row& row : report.rows) CHECK(row.rule == FoldRule::scale);
    CHECK(model->training);
    CHECK(fold_bn(model, images(1, c.options.image)).folded() == 0);
  }
}

TEST_CASE("folding leaves every trained binary model the same function") {
  const std::vector<Case> cases{
      {"nin", {.widths = kNin}, "wbab:W2A2"},
      {"nin", {.widths = kNin, .order = "cbpa"}, "wbab:W2A2"},
      {"nin_gc", {.widths = kGc}, "wbab:W2A2"},
      {"nin_gc", {.widths = kGc}, "wbab:W3A2"},
      {"nin", {.widths = kNin}, "wbab:W32A2"},
      {"nin", {.widths = kNin}, "W=binary,A=binary,alpha=off"},
      {"nin", {.widths = kNin}, "W=dorefa:3,A=binary"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    CAPTURE(c.quant);
    nn::Layer model = ready(c);
    const Tensor x = images(4, c.options.image);
    const Tensor want = eval(model, x);
    const FoldReport report = fold_bn(model, images(1, c.options.image));
    CAPTURE(str(report));
    REQUIRE(report.folded() == 9);
    for (size_t i = 0; i < 8; ++i) CHECK(report.rows[i].rule == FoldRule::sign);
    CHECK(report.rows[8].rule == FoldRule::scale);  // the float logits
    int64_t negated = 0;
    for (const FoldReport::Row& row : report.rows) negated += row.negated;
    CHECK(negated > 8);
    CHECK(gap(want, eval(model, x)) < 2e-5f);
  }
}

TEST_CASE("batch norm in front of what needs magnitudes is scaled, never turned into signs") {
  // Binary or ternary weights with their own scale under float activations.
  struct Scheme {
    const char* text;
    int folded;
  };
  // A scale of the whole layer does not scale along with one filter. The first and the last weight
  // are float.
  for (const auto& [scheme, folded] :
       {Scheme{"W=binary,A=float,clamp=off", 9}, Scheme{"wbab:W3A32", 9},
        Scheme{"W=ternary,A=float,per=layer", 2}}) {
    const std::string name = scheme;
    CAPTURE(name);
    const Case c{"nin", {.widths = kNin}, name};
    nn::Layer model = ready(c);
    const Tensor x = images(4, c.options.image), want = eval(model, x);
    const FoldReport report = fold_bn(model, images(1, c.options.image));
    CAPTURE(str(report));
    for (const FoldReport::Row& row : report.rows) CHECK(row.rule == FoldRule::scale);
    CHECK(report.folded() == folded);
    CHECK(gap(want, eval(model, x)) < 2e-5f);
  }
}

TEST_CASE("a binary weight is not scaled into its clamp") {
  for (const float gamma : {-1.5f, -3.0f}) {
    CAPTURE(gamma);
    nn::Conv2d c({.in = 2, .out = 1, .kernel = 1});
    c.weight.copy_(Tensor::of({0.5f, -0.5f}).view(c.weight.shape()));
    c.weight_fn = quant::BinaryWeight();
    nn::BatchNorm2d bn(1);
    bn.weight.fill_(gamma);
    nn::Layer model = nn::Sequential({c, bn});
    const Tensor x = images(2, {3, 3, 2}), want = eval(model, x);
    CHECK(fold_bn(model, x).folded() == (gamma == -1.5f));
    CHECK(gap(want, eval(model, x)) < 1e-6f);
  }
}

TEST_CASE("a weight quantizer with fixed levels keeps its batch norm, and the model its bits") {
  const Case c{"resnet20", {.widths = {4, 8, 8}}, "wqaq:W4A4"};
  nn::Layer model = ready(c);
  const Tensor x = images(4, c.options.image), want = eval(model, x);
  const FoldReport report = fold_bn(model, images(1, c.options.image));
  CHECK(report.folded() == 1);  // the first layer has float weights
  CHECK(contains(report.rows[1].stayed_because, "does not scale along with its weight"));
  CHECK(contains(str(report), "stays: DorefaWeight(bits=4"));
  CHECK(gap(want, eval(model, x)) < 0.3f);  // a rounding may tip a level of four bits
}

TEST_CASE("folding into grouped, dilated, transposed convolutions and linear layers") {
  using nn::BatchNorm2d, nn::Conv2d, nn::ConvTranspose2d, nn::Linear;
  nn::Layer model = nn::Sequential({
      Conv2d({.in = 3, .out = 8, .kernel = {3, 1}, .pad = 1, .dilation = 2}),
      BatchNorm2d(8, {.eps = 0.1f}),
      Conv2d({.in = 8, .out = 12, .kernel = 3, .groups = 4, .bias = false}),
      BatchNorm2d(12),
      ConvTranspose2d({.in = 12, .out = 6, .kernel = 2, .stride = 2, .groups = 3}),
      BatchNorm2d(6),
      ConvTranspose2d({.in = 6, .out = 5, .kernel = 3, .bias = false}),
      BatchNorm2d(5, {.affine = false}),
      Conv2d({.in = 5, .out = 5, .kernel = 1, .groups = 5}),
      BatchNorm2d(5),
      nn::GlobalAvgPool2d(),
      nn::Flatten(),
      Linear({.in = 5, .out = 7, .bias = false}),
      BatchNorm2d(7),
      nn::ReLU(),
      Linear({7, 6}),
  });
  const Shape image{8, 8, 3};
  Rng rng(1);
  nn::init(model, rng, {.zero_bias = false});
  train(model, image);
  const Tensor x = images(4, image), want = eval(model, x);
  const FoldReport report = fold_bn(model, images(1, image));
  CAPTURE(str(report));
  CHECK(report.folded() == 6);
  CHECK(norms_in(model) == 0);
  CHECK(gap(want, eval(model, x)) < 2e-5f);
  const auto* c = model.as<nn::Sequential>()->layers[2].as<Conv2d>();
  REQUIRE(c->bias);
  CHECK(c->opt.bias);
  CHECK(contains(c->describe(), "Conv2d(8, 12"));
  CHECK_FALSE(contains(c->describe(), "bias=false"));

  // It is a network like any other: gradients reach the new biases.
  sum(model(x)).backward();
  CHECK(c->bias.grad());
}

TEST_CASE("the sign rule is exact for all signs of gamma, ties included") {
  // Integers and quarters only: nothing is rounded. var + eps = 4.
  const std::vector<float> gammas{2, -2, 0, 0, 0, 0.5f, -0.5f, 1};
  const std::vector<float> betas{1, 1, 3, 0, -3, -2, 2, 0};
  const auto channels = static_cast<int64_t>(gammas.size());
  for (const bool binary : {false, true}) {
    for (const bool pool : {false, true}) {
      CAPTURE(binary);
      CAPTURE(pool);
      nn::Conv2d c({.in = 2, .out = channels, .kernel = 1});
      nn::BatchNorm2d bn(channels, {.eps = 1.0f});
      Rng rng(4);
      for (int64_t i = 0; i < channels; ++i) {
        const auto at = static_cast<size_t>(i);
        c.weight.data()[2 * i] = i % 2 ? 1.0f : -1.0f;
        c.weight.data()[2 * i + 1] = i % 3 ? 1.0f : -1.0f;
        c.bias.data()[i] = static_cast<float>(i % 3) - 1;
        bn.weight.data()[i] = gammas[at];
        bn.bias.data()[i] = betas[at];
        bn.running_mean.data()[i] = static_cast<float>(i % 4) - 1;
        bn.running_var.data()[i] = 3;
      }
      if (binary) c.weight_fn = quant::BinaryWeight({.center = false, .alpha = false});
      nn::Layer model = nn::Sequential(
          {c, bn, pool ? nn::Layer(nn::MaxPool2d({.kernel = 2, .stride = 1})) : nn::Layer(),
           quant::BinaryActivation()});
      Tensor x = Tensor::uninit({2, 6, 6, 2});
      for (int64_t i = 0; i < x.numel(); ++i) x.data()[i] = std::floor(rng.uniform(-4, 5));
      const Tensor want = eval(model, x);
      const FoldReport report = fold_bn(model, x);
      REQUIRE(report.folded() == 1);
      CHECK(report.rows[0].rule == FoldRule::sign);
      CHECK(report.rows[0].negated == 2);
      CHECK(report.rows[0].constant == 3);
      CHECK(eval(model, x) == want);
      const Tensor w = model.as<nn::Sequential>()->layers[0].as<nn::Conv2d>()->weight;
      for (int64_t i = 0; i < channels; ++i) {
        const bool zeroed = gammas[static_cast<size_t>(i)] == 0 && !binary;
        CHECK(std::fabs(w.data()[2 * i]) == (zeroed ? 0 : 1));  // magnitudes stay
      }
    }
  }
}

TEST_CASE("a sign elsewhere does not make up for a reader of magnitudes") {
  nn::Layer model =
      OddNet({{"conv", conv(3, 4)}, {"bn", norm(4)}}, [](const Parts& p, const Tensor& x) {
        const Tensor h = p["bn"](p["conv"](x));
        return sign(h) + relu(h);
      });
  Rng rng(1);
  nn::init(model, rng);
  const Tensor x = images(2, {6, 6, 3}), want = eval(model, x);
  const FoldReport report = fold_bn(model, x);
  REQUIRE(report.folded() == 1);
  CHECK(report.rows[0].rule == FoldRule::scale);
  CHECK(gap(want, eval(model, x)) < 2e-5f);
}

TEST_CASE("what cannot be folded stays, with the reason") {
  struct Odd {
    std::vector<std::pair<std::string, nn::Layer>> layers;
    OddNet::Forward run;
    std::string reason;
  };
  Tensor mean = Tensor::zeros({4}), var = Tensor::ones({4});
  const std::vector<Odd> odd{
      {{{"conv", conv(3, 4)}, {"bn", norm(4)}},
       [](const Parts& p, const Tensor& x) {
         const Tensor h = p["conv"](x);
         return p["bn"](h) + h;
       },
       "conv is also read by add"},
      {{{"conv", conv(3, 4)}, {"bn", norm(4)}},
       [](const Parts& p, const Tensor& x) { return p["bn"](relu(p["conv"](x))); },
       "follows relu (relu)"},
      {{{"bn", norm(3)}},
       [](const Parts& p, const Tensor& x) { return p["bn"](x); },
       "follows input (input)"},
      {{{"conv", conv(4, 4)}, {"bn", norm(4)}, {"first", conv(3, 4)}},
       [](const Parts& p, const Tensor& x) {
         return p["conv"](relu(p["bn"](p["conv"](p["first"](x)))));
       },
       "conv is used twice"},
      {{{"a", conv(3, 4)}, {"b", conv(4, 4)}, {"bn", norm(4)}},
       [](const Parts& p, const Tensor& x) { return p["bn"](p["b"](p["bn"](p["a"](x)))); },
       "is used twice"},
      {{{"conv", conv(3, 4)}},
       [&](const Parts& p, const Tensor& x) {
         return batch_norm(p["conv"](x), {}, {}, mean, var, {.train = false});
       },
       "is not a module of its own"},
  };
  for (const Odd& o : odd) {
    CAPTURE(o.reason);
    nn::Layer model = OddNet(o.layers, o.run);
    Rng rng(1);
    nn::init(model, rng);
    const int before = norms_in(model);
    const Tensor x = images(2, {6, 6, 3}), want = eval(model, x);
    const FoldReport report = fold_bn(model, x);
    CHECK(report.folded() == 0);
    REQUIRE_FALSE(report.rows.empty());
    CHECK(report.rows[0].stayed_because == o.reason);
    CHECK(norms_in(model) == before);
    CHECK(eval(model, x) == want);
  }
}

TEST_CASE("a fold report is a table") {
  nn::Layer model = nn::Sequential({conv(3, 4), norm(4), quant::BinaryActivation(), norm(4)});
  model.as<nn::Sequential>()->layers[1].as<nn::BatchNorm2d>()->weight.data()[2] = -1;
  CHECK(str(fold_bn(model, images(1, {6, 6, 3}))) ==
        "batch norm  channels  folded into  rule\n"
        "1           4         0            sign, 1 negated\n"
        "3           4         -            stays: follows 2 (sign)\n");
  nn::Layer empty;
  CHECK(contains(test::message_of([&] { fold_bn(empty, Tensor::ones({1, 2, 2, 1})); }), "empty"));
}
