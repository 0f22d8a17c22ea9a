#pragma once
// Every model of the library, narrow and with lived-in batch norms, for tests of exports.

#include <string>
#include <vector>

#include "core/autograd.h"
#include "models/models.h"
#include "nn/layers.h"
#include "quant/calibrate.h"
#include "quant/scheme.h"

namespace pare::test {

struct ZooCase {
  std::string name;
  models::Options options = {};
  std::string variant = {};  // told apart from others of that name
};

inline std::vector<ZooCase> zoo() {
  const std::vector<int64_t> nin{24, 20, 16, 24, 24, 24, 24, 24};
  const std::vector<int64_t> gc{32, 32, 32, 64, 64, 64, 64, 64};
  const std::vector<int64_t> cifar{8, 16, 32}, imagenet{8, 16, 16, 24}, vgg(13, 12);
  std::vector<ZooCase> all;
  for (const char* order : {"cbap", "bacp", "cbpa", "acbp"}) {
    all.push_back({"nin", {.widths = nin, .order = order}, order});
  }
  all.push_back({"nin_gc", {.widths = gc}});
  all.push_back({"nin_3x3", {.widths = nin}});
  all.push_back({"resnet20", {.widths = cifar}});
  all.push_back({"resnet20", {.widths = cifar, .shortcut = "A"}, "pad"});
  all.push_back({"resnet110", {.widths = {4, 8, 16}}});
  for (const char* name : {"resnet18", "resnet34", "resnet50"}) {
    all.push_back({name, {.widths = imagenet}});
  }
  all.push_back({"resnet18", {.image = {64, 64, 3}, .widths = imagenet, .stem = "imagenet"}, "64"});
  all.push_back({"vgg16_bn", {.widths = vgg}});
  all.push_back({"lenet5", {.image = {28, 28, 1}}});
  for (const char* name :
       {"mobilenet_v1", "mobilenet_v2", "efficientnet_lite0", "regnet_x_600mf", "squeezenet1_0"}) {
    all.push_back({name, {.image = {64, 64, 3}}});
  }
  return all;
}

inline std::string title(const ZooCase& c) {
  return c.variant.empty() ? c.name : c.name + "_" + c.variant;
}

/// [n, H, W, C]: noise with a different slope in each image, so that classes differ.
inline Tensor zoo_images(const ZooCase& c, int64_t n, uint64_t seed) {
  Rng rng(seed);
  const Shape& s = c.options.image;
  Tensor x = Tensor::normal({n, s[0], s[1], s[2]}, rng, 0.0f, 0.6f);
  for (int64_t i = 0; i < x.numel(); ++i) {
    const int64_t image = i / (s[0] * s[1] * s[2]), row = i / (s[1] * s[2]) % s[0];
    const int64_t phase = (image * 5 + i % s[2] * 3) % 11;
    x.data()[i] += static_cast<float>(row * phase) / static_cast<float>(8 * s[0]);
  }
  return x;
}

/// Batch norms with the statistics of a batch, and affine parameters that are not 1 and 0.
inline nn::Layer zoo_model(const ZooCase& c) {
  nn::Layer model = models::make(c.name, c.options);
  Rng rng(7);
  nn::init(model, rng, models::init_options(c.name));
  nn::for_each_layer(model, [&](const std::string&, nn::Layer& layer) {
    if (auto* norm = layer.as<nn::BatchNorm2d>()) {
      norm->weight.uniform_(rng, 0.6f, 1.4f);
      norm->opt.momentum = 1;
      norm->bias.uniform_(rng, -0.3f, 0.3f);
    }
  });
  const NoGrad guard;
  nn::set_training(model, true);
  model(zoo_images(c, 16, 11));
  nn::set_training(model, false);
  return model;
}

inline void quantize_zoo(nn::Layer& model, const ZooCase& c, const std::string& scheme) {
  quant::apply(model, quant::parse_scheme(scheme));
  quant::calibrate(model, {zoo_images(c, 16, 12)});
  nn::set_training(model, false);
}

}  // namespace pare::test
