#include "models/models.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/autograd.h"
#include "core/ops.h"
#include "nn/describe.h"
#include "nn/layers.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "tests/support/message.h"

using namespace pare;
using models::make;
using models::Options;
using test::contains;
using test::message_of;

namespace {

nn::Layer ready(const std::string& name, const Options& options, uint64_t seed = 1) {
  nn::Layer model = make(name, options);
  Rng rng(seed);
  nn::init(model, rng, models::init_options(name));
  return model;
}

Tensor images(int64_t n, const Shape& s, uint64_t seed = 2) {
  Rng rng(seed);
  return Tensor::normal({n, s[0], s[1], s[2]}, rng);
}

int64_t parameters_of(const nn::Layer& model) {
  int64_t n = 0;
  for (const auto& p : nn::parameters(model)) n += p.tensor.numel();
  return n;
}

int64_t conv_weights(const nn::Layer& model) {
  int64_t n = 0;
  for (const auto& p : nn::parameters(model)) n += p.tensor.dims() == 4 ? p.tensor.numel() : 0;
  return n;
}

/// Narrow forms: every model once, quickly.
Options narrow(const std::string& name) {
  Options o;
  if (name == "nin" || name == "nin_3x3") o.widths = {6, 5, 4, 6, 6, 6, 6, 6};
  if (name == "nin_gc") o.widths = {16, 16, 16, 32, 32, 32, 64, 64};
  if (contains(name, "resnet")) o.widths = {4, 8, 8};
  if (name == "resnet18" || name == "resnet34" || name == "resnet50") o.widths = {4, 8, 8, 8};
  if (name == "vgg16_bn") o.widths = std::vector<int64_t>(13, 6);
  if (name == "alexnet_bn") o.widths = {4, 6, 8, 6, 6, 20, 16}, o.image = {71, 64, 3};
  if (name == "nin_imagenet") o.widths = {4, 6, 8, 10}, o.image = {71, 67, 3};
  if (name == "lenet5") o.image = {28, 28, 1};
  return o;
}

const std::vector<int64_t> kNarrowNin{6, 5, 4, 6, 6, 6, 6, 7};

std::set<std::string> keys(const nn::Layer& model) {
  std::set<std::string> names;
  for (const auto& [name, t] : nn::state_dict(model)) names.insert(name);
  return names;
}

}  // namespace

TEST_CASE("every registered model runs forward and backward") {
  for (const models::Info& info : models::list()) {
    CAPTURE(info.name);
    CHECK_FALSE(info.summary.empty());
    Options options = narrow(info.name);
    options.classes = 7;
    nn::Layer model = ready(info.name, options);
    const Tensor x = images(2, options.image);
    const Tensor logits = model(x);
    CHECK(logits.shape() == Shape{2, 7});
    const Tensor loss = cross_entropy(logits, Tensor::of({1, 4}));
    CHECK(std::isfinite(loss.item()));
    loss.backward();
    for (const auto& p : nn::parameters(model)) {
      CAPTURE(p.name);
      CHECK(p.tensor.grad());
    }
    // The path of an error is known from construction.
    CHECK(contains(message_of([&] { model(images(1, {33, 33, 2})); }), "  in      "));
  }
}

TEST_CASE("parameters and multiplications of the full models") {
  struct Case {
    std::string name;
    Options options;
    int64_t params;
    double macs;  // millions
  };
  // Counts of published definitions: NIN, NIN_GC and the CIFAR ResNets with micronet, Sparsebit and
  // akamaster; the ImageNet ones with torchvision.
  const std::vector<Case> cases{
      {"nin", {}, 969'822, 222.5},         {"nin_gc", {}, 591'390, 157.7},
      {"resnet20", {}, 272'474, 40.8},     {"resnet20", {.shortcut = "A"}, 269'722, 40.6},
      {"resnet56", {}, 855'770, 125.7},    {"resnet18", {}, 11'173'962, 555.4},
      {"vgg16_bn", {}, 14'728'266, 313.2}, {"lenet5", {.image = {28, 28, 1}}, 61'706, 0.4},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    nn::Layer model = make(c.name, c.options);
    const nn::Summary s = nn::summarize(model, c.options.image);
    CHECK(s.params == c.params);
    CHECK(std::abs(s.macs * 1e-6 - c.macs) < 0.051);  // one decimal is published
  }
}

TEST_CASE("parameters of models too large to run here") {
  const Options imagenet{.classes = 1000, .image = {224, 224, 3}};
  CHECK(parameters_of(make("resnet18", imagenet)) == 11'689'512);
  CHECK(parameters_of(make("resnet34", imagenet)) == 21'797'672);
  CHECK(parameters_of(make("resnet50", imagenet)) == 25'557'032);
  CHECK(parameters_of(make("mobilenet_v1", imagenet)) == 4'231'976);
  CHECK(parameters_of(make("mobilenet_v2", imagenet)) == 3'504'872);
  CHECK(parameters_of(make("efficientnet_lite0", imagenet)) == 4'652'008);
  CHECK(parameters_of(make("regnet_x_600mf", imagenet)) == 6'196'040);
  CHECK(parameters_of(make("squeezenet1_0", imagenet)) == 1'248'424);
  // torchvision's VGG-16-BN; its AlexNet and Caffe's NIN, and what batch norm adds.
  CHECK(parameters_of(make("vgg16_bn", imagenet)) == 138'365'992);
  CHECK(parameters_of(make("alexnet_bn", imagenet)) == 61'100'840 + 2 * 1152);
  CHECK(parameters_of(make("nin_imagenet", imagenet)) == 7'595'176 + 2 * 4256);
  CHECK(parameters_of(make("resnet110", {.shortcut = "A"})) == 1'727'962);
  CHECK(conv_weights(make("nin")) == 965'568);
  CHECK(conv_weights(make("nin_3x3")) == 670'656);
  CHECK(conv_weights(make("nin_gc")) == 578'304);
}

TEST_CASE("names in state dicts are those of the original programs") {
  const auto nin = keys(make("nin"));
  CHECK(nin.size() == 9 * 6);
  for (int block : {0, 1, 2, 4, 5, 6, 8, 9, 10}) {
    for (const char* field : {"conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean",
                              "bn.running_var"}) {
      CHECK(nin.count(str("model.", block, ".", field)) == 1);
    }
  }
  CHECK(keys(make("nin_gc")) == nin);

  const auto a = keys(make("resnet20", {.shortcut = "A"})), b = keys(make("resnet20"));
  CHECK(a.size() == 19 * 5 + 2);
  for (const char* key : {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight",
                          "layer3.2.bn2.bias", "linear.weight", "linear.bias"}) {
    CHECK(a.count(key) == 1);
  }
  CHECK(b.size() == a.size() + 2 * 5);
  CHECK(b.count("layer2.0.shortcut.0.weight") == 1);
  CHECK(b.count("layer3.0.shortcut.1.running_mean") == 1);

  const auto large = keys(make("resnet50"));
  for (const char* key :
       {"conv1.weight", "layer1.0.conv3.weight", "layer1.0.downsample.0.weight",
        "layer4.0.downsample.1.running_var", "layer4.2.bn3.weight", "fc.weight", "fc.bias"}) {
    CHECK(large.count(key) == 1);
  }
  CHECK(large.size() == 53 * 6 + 2 - 53);

  const auto mobile = keys(make("mobilenet_v2"));
  for (const char* key :
       {"features.0.0.weight", "features.0.1.running_mean", "features.1.conv.0.0.weight",
        "features.1.conv.1.weight", "features.17.conv.2.weight", "features.17.conv.3.bias",
        "features.18.1.weight", "classifier.1.weight"}) {
    CHECK(mobile.count(key) == 1);
  }
  CHECK(mobile.size() == 52 * 5 + 2);
  const auto lite = keys(make("efficientnet_lite0"));
  for (const char* key :
       {"conv_stem.weight", "bn1.weight", "blocks.0.0.conv_dw.weight", "blocks.0.0.conv_pw.weight",
        "blocks.0.0.bn2.bias", "blocks.6.0.conv_pwl.weight", "blocks.6.0.bn3.running_var",
        "conv_head.weight", "classifier.bias"}) {
    CHECK(lite.count(key) == 1);
  }
  const auto reg = keys(make("regnet_x_600mf"));
  for (const char* key :
       {"stem.0.weight", "stem.1.bias", "trunk_output.block1.block1-0.proj.0.weight",
        "trunk_output.block4.block4-6.f.b.0.weight",
        "trunk_output.block2.block2-2.f.c.1.running_mean", "fc.weight"}) {
    CHECK(reg.count(key) == 1);
  }
  const auto squeeze = keys(make("squeezenet1_0"));
  for (const char* key : {"features.0.weight", "features.3.squeeze.weight",
                          "features.12.expand3x3.bias", "classifier.1.weight"}) {
    CHECK(squeeze.count(key) == 1);
  }
  CHECK(squeeze.size() == 26 * 2);

  const auto vgg = keys(make("vgg16_bn"));
  CHECK(vgg.count("features.0.weight") == 1);
  CHECK(vgg.count("features.41.running_mean") == 1);
  CHECK(vgg.count("classifier.weight") == 1);
  const Options narrow_vgg{.image = {96, 64, 3}, .widths = std::vector<int64_t>(13, 4)};
  const auto large_vgg = nn::state_dict(make("vgg16_bn", narrow_vgg));
  CHECK(large_vgg.at("classifier.0.weight").shape() == Shape{4096, 4 * 3 * 2});
  CHECK(large_vgg.count("classifier.6.bias") == 1);
  const auto alex = nn::state_dict(make("alexnet_bn", narrow("alexnet_bn")));
  CHECK(alex.count("features.0.weight") == 1);
  CHECK(alex.count("features.15.running_var") == 1);
  CHECK(alex.at("classifier.1.weight").shape() == Shape{20, 6});
  const auto nin_large = keys(make("nin_imagenet", narrow("nin_imagenet")));
  CHECK(nin_large.count("features.0.weight") == 1);
  CHECK(nin_large.count("features.37.bias") == 1);
}

// Files hold a linear layer behind flatten in the order channel, row, column.
TEST_CASE("weights of linear layers behind an image keep their meaning") {
  Options o = narrow("vgg16_bn");
  o.image = {96, 96, 3};
  nn::Layer model = ready("vgg16_bn", o);
  nn::Layer *features = nullptr, *first = nullptr;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& l) {
    if (path == "features") features = &l;
    if (path == "classifier.0") first = &l;
  });
  REQUIRE((features && first));
  const Tensor h = (*features)(images(1, o.image));
  REQUIRE(h.shape() == Shape{1, 3, 3, 6});
  const Tensor y = (*first)(flatten(h));
  const auto* linear = first->as<nn::Linear>();
  double want = linear->bias.data()[2];
  for (int c = 0; c < 6; ++c) {
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j)
        want += h.at({0, i, j, c}) * linear->weight.at({2, (c * 3 + i) * 3 + j});
    }
  }
  CHECK(y.at({0, 2}) == doctest::Approx(want).epsilon(1e-4));
}

TEST_CASE("shortcut A takes every second pixel and pads channels with zeros") {
  nn::Layer model = ready("resnet20", {.image = {8, 8, 3}, .widths = {4, 8, 16}, .shortcut = "A"});
  nn::Layer* shortcut = nullptr;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& l) {
    if (path == "layer2.0.shortcut") shortcut = &l;
  });
  REQUIRE(shortcut);
  const Tensor x = images(1, {5, 5, 4}), y = (*shortcut)(x);
  CHECK(y.shape() == Shape{1, 3, 3, 8});
  for (int h = 0; h < 3; ++h) {
    for (int c = 0; c < 8; ++c) {
      const bool inside = c >= 2 && c < 6;
      CHECK(y.at({0, h, 1, c}) == (inside ? x.at({0, 2 * h, 2, c - 2}) : 0.0f));
    }
  }
}

TEST_CASE("stems: for small and for large images") {
  const std::vector<int64_t> widths{4, 4, 4, 4};
  const auto first = [&](const Options& o) {
    nn::Layer model = make("resnet18", o);
    return nn::parameters(model)[0].tensor.dim(1);
  };
  CHECK(first({.widths = widths}) == 3);
  CHECK(first({.image = {224, 224, 3}, .widths = widths}) == 7);
  CHECK(first({.widths = widths, .stem = "imagenet"}) == 7);
  CHECK(first({.image = {224, 224, 3}, .widths = widths, .stem = "cifar"}) == 3);
  nn::Layer model = make("resnet18", {.image = {64, 64, 3}, .widths = widths, .stem = "imagenet"});
  for (const auto& row : nn::summarize(model, {64, 64, 3}).rows) {
    if (row.path == "conv1") CHECK(row.output == Shape{1, 32, 32, 4});
    if (row.path == "layer1.0.conv1") CHECK(row.output == Shape{1, 16, 16, 4});
    if (row.path == "layer4.1.conv2") CHECK(row.output == Shape{1, 2, 2, 4});
  }
}

TEST_CASE("lenet5 takes 28 and 32 pixels, gray and colour") {
  for (const Shape& image : {Shape{28, 28, 1}, Shape{32, 32, 3}, Shape{32, 32, 1}}) {
    CAPTURE(image);
    nn::Layer model = make("lenet5", {.image = image});
    CHECK(nn::state_dict(model).at("fc1.weight").shape() == Shape{120, 400});
    CHECK(model(images(1, image)).shape() == Shape{1, 10});
  }
}

TEST_CASE("bn_momentum and dropout arrive where they should") {
  nn::Layer model = make("nin", {.widths = kNarrowNin, .bn_momentum = 0.3f, .dropout = 0.5f});
  int norms = 0;
  std::vector<std::string> dropouts;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& l) {
    if (auto* bn = l.as<nn::BatchNorm2d>()) norms += bn->opt.momentum == 0.3f;
    if (l.as<nn::Dropout>()) dropouts.push_back(path);
  });
  CHECK(norms == 9);
  CHECK(dropouts == std::vector<std::string>{"model.4.drop", "model.8.drop"});
  for (const std::string name : {"resnet20", "resnet18", "resnet50", "vgg16_bn"}) {
    CAPTURE(name);
    Options o = narrow(name);
    o.bn_momentum = 0.3f;
    nn::Layer other = make(name, o);
    nn::for_each_layer(other, [&](const std::string&, nn::Layer& l) {
      if (auto* bn = l.as<nn::BatchNorm2d>()) CHECK(bn->opt.momentum == 0.3f);
    });
  }
}

TEST_CASE("unknown models and options without use are refused") {
  std::string error = message_of([] { make("resnet2O"); });
  CHECK(contains(error, "unknown model 'resnet2O'; did you mean resnet20?"));
  CHECK(contains(error, "nin, nin_3x3, nin_gc"));
  CHECK(contains(message_of([] { models::init_options("x"); }), "unknown model 'x'"));

  error = message_of([] { make("resnet20", {.order = "cbap"}); });
  CHECK(contains(error, "resnet20: has no use for the option order"));
  CHECK(contains(error, "it accepts classes, image, widths (3 numbers), shortcut, bn_momentum"));
  const auto refused = [](const std::string& name, const Options& o, const std::string& part) {
    CAPTURE(name);
    CAPTURE(part);
    CHECK(contains(message_of([&] { make(name, o); }), part));
  };
  refused("nin", {.shortcut = "A"}, "shortcut");
  refused("nin", {.stem = "cifar"}, "stem");
  refused("lenet5", {.bn_momentum = 0.2f}, "bn_momentum");
  refused("resnet18", {.dropout = 0.2f}, "dropout");
  refused("nin", {.widths = {1, 2}}, "has 8 widths, got 2");
  refused("nin", {.widths = {1, 2, 3, 4, 5, 6, 7, 0}}, "positive");
  refused("nin", {.order = "abc"}, "cbap, cbpa, acbp or bacp");
  refused("nin_gc", {.widths = {16, 16, 16, 30, 32, 32, 64, 64}}, "convolution 4 has 16 groups");
  refused("resnet20", {.shortcut = "C"}, "unknown shortcut 'C'");
  refused("resnet20", {.widths = {8, 4, 4}, .shortcut = "A"}, "only add channels");
  refused("resnet18", {.stem = "x"}, "unknown stem 'x'");
  refused("nin", {.classes = 0}, "class");
  refused("nin", {.image = {32, 32}}, "[H, W, C]");
  refused("nin", {.bn_momentum = 2}, "bn_momentum");
  refused("nin", {.dropout = 1}, "dropout");
  refused("vgg16_bn", {.image = {28, 28, 1}}, "32 pixels");
  refused("lenet5", {.image = {8, 8, 1}}, "too small");
  refused("alexnet_bn", {.image = {62, 64, 3}}, "63 pixels");
  refused("nin_imagenet", {.image = {67, 66, 3}}, "67 pixels");
}
