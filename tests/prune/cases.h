#pragma once
// Models to prune: narrow forms of those in the library, and odd graphs.

#include <cmath>
#include <string>
#include <vector>

#include "core/autograd.h"
#include "models/models.h"
#include "nn/layers.h"
#include "prune/apply.h"
#include "prune/select.h"
#include "tests/nn/odd_net.h"
#include "tests/nn/traced.h"

namespace pare::test {

struct PruneCase {
  std::string name;
  nn::Layer model;
  Tensor images;
};

/// Every parameter and statistic is drawn, so that nothing is zero or one by chance.
inline void randomize(nn::Layer& model, uint64_t seed = 5) {
  Rng rng(seed);
  for (nn::NamedTensor& p : nn::parameters(model)) {
    const int64_t fan = std::max<int64_t>(1, p.tensor.numel() / p.tensor.dim(0));
    const float spread = p.tensor.dims() > 1 ? 1.5f / std::sqrt(static_cast<float>(fan)) : 0.3f;
    const bool scale = p.tensor.dims() == 1 && p.name.ends_with("weight");
    p.tensor.copy_(
        Tensor::uniform(p.tensor.shape(), rng, scale ? 0.5f : -spread, scale ? 1.5f : spread));
  }
  for (nn::NamedTensor& b : nn::buffers(model)) {
    const bool variance = b.name.ends_with("running_var");
    if (!variance && !b.name.ends_with("running_mean")) continue;
    b.tensor.copy_(
        Tensor::uniform(b.tensor.shape(), rng, variance ? 0.5f : -0.2f, variance ? 1.5f : 0.2f));
  }
}

inline PruneCase library_case(const std::string& name, const models::Options& options) {
  PruneCase c{
      name + options.order + options.shortcut + options.stem, models::make(name, options), {}};
  randomize(c.model);
  Rng rng(2);
  const Shape& s = options.image;
  c.images = Tensor::normal({2, s[0], s[1], s[2]}, rng);
  return c;
}

inline std::vector<PruneCase> library_cases() {
  const std::vector<int64_t> nin{12, 10, 8, 12, 12, 12, 12, 12}, cifar{4, 8, 16};
  const std::vector<int64_t> gc{32, 32, 32, 64, 64, 64, 64, 64}, imagenet{4, 8, 8, 8}, vgg(13, 6);
  std::vector<PruneCase> all;
  for (const char* order : {"cbap", "bacp", "cbpa", "acbp"}) {
    all.push_back(library_case("nin", {.widths = nin, .order = order}));
    all.push_back(library_case("nin_gc", {.widths = gc, .order = order}));
  }
  all.push_back(library_case("nin_3x3", {.widths = nin}));
  for (const char* model : {"resnet20", "resnet32", "resnet44", "resnet56", "resnet110"}) {
    all.push_back(library_case(model, {.widths = cifar}));
  }
  all.push_back(library_case("resnet20", {.widths = cifar, .shortcut = "A"}));
  for (const char* model : {"resnet18", "resnet34", "resnet50"}) {
    all.push_back(library_case(model, {.widths = imagenet}));
  }
  all.push_back(
      library_case("resnet18", {.image = {64, 64, 3}, .widths = imagenet, .stem = "imagenet"}));
  all.push_back(library_case("vgg16_bn", {.widths = vgg}));
  all.push_back(library_case("lenet5", {.image = {28, 28, 1}}));
  for (const char* model :
       {"mobilenet_v1", "mobilenet_v2", "efficientnet_lite0", "regnet_x_600mf", "squeezenet1_0"}) {
    all.push_back(library_case(model, {}));
  }
  return all;
}

inline PruneCase odd_case(const std::string& name, nn::Layer model) {
  PruneCase c{name, std::move(model), {}};
  nn::assign_paths(c.model);
  randomize(c.model);
  Rng rng(3);
  c.images = Tensor::normal({2, 8, 8, 3}, rng);
  return c;
}

inline std::vector<PruneCase> odd_cases() {
  using nn::Sequential, nn::BatchNorm2d, nn::ReLU, nn::ChannelShuffle;
  using P = const Parts&;
  using T = const Tensor&;
  std::vector<PruneCase> all;
  all.push_back(odd_case(
      "concat of three",
      OddNet({{"a", conv(3, 4)}, {"b", conv(3, 5)}, {"c", conv(3, 6)}, {"last", conv(15, 2)}},
             [](P p, T x) {
               return p["last"](relu(concat({p["a"](x), p["b"](x), p["c"](x)})));
             })));
  all.push_back(odd_case(
      "sum of four",
      OddNet({{"a", conv(3, 6)},
              {"b", conv(3, 6)},
              {"c", conv(3, 6)},
              {"d", conv(3, 6)},
              {"last", conv(6, 2)}},
             [](P p, T x) { return p["last"](p["a"](x) + p["b"](x) + (p["c"](x) + p["d"](x))); })));
  all.push_back(odd_case(
      "shared module",
      OddNet({{"stem", conv(3, 6)}, {"twice", conv(6, 6)}, {"last", conv(6, 2)}}, [](P p, T x) {
        const Tensor h = relu(p["stem"](x));
        return p["last"](relu(p["twice"](relu(p["twice"](h)))));
      })));
  all.push_back(odd_case(
      "group, shuffle, group",
      Sequential({conv(3, 24), ReLU(), conv(24, 24, 4), BatchNorm2d(24), ReLU(), ChannelShuffle(4),
                  conv(24, 36, 3), ReLU(), ChannelShuffle(3), conv(36, 24, 2), conv(24, 2)})));
  all.push_back(
      odd_case("flatten before linear",
               Sequential({conv(3, 8), BatchNorm2d(8), ReLU(), nn::MaxPool2d({}), nn::Flatten(),
                           nn::Linear({8 * 16, 12}), ReLU(), nn::Linear({12, 2})})));
  all.push_back(odd_case("depthwise chain",
                         Sequential({conv(3, 8), ReLU(), conv(8, 8, 8), BatchNorm2d(8), ReLU(),
                                     conv(8, 16, 8), ReLU(), conv(16, 6), conv(6, 2)})));
  all.push_back(odd_case(
      "transposed",
      Sequential(
          {conv(3, 6), ReLU(), nn::ConvTranspose2d({.in = 6, .out = 8, .kernel = 2, .stride = 2}),
           ReLU(), nn::ConvTranspose2d({.in = 8, .out = 12, .kernel = 2, .groups = 2}),
           nn::ConvTranspose2d({.in = 12, .out = 12, .kernel = 1, .groups = 12}), conv(12, 2)})));
  all.push_back(odd_case("squeeze and excitation",
                         OddNet({{"a", conv(3, 8)},
                                 {"down", nn::Linear({8, 4})},
                                 {"up", nn::Linear({4, 8})},
                                 {"last", conv(8, 2)}},
                                [](P p, T x) {
                                  const Tensor h = p["a"](x);
                                  const Tensor s = relu(p["down"](mean(h, {1, 2})));
                                  const Tensor gate = sigmoid(p["up"](s));
                                  return p["last"](h * reshape(gate, {h.dim(0), 1, 1, h.dim(3)}));
                                })));
  return all;
}

inline std::vector<PruneCase> all_cases() {
  std::vector<PruneCase> all = library_cases(), odd = odd_cases();
  std::move(odd.begin(), odd.end(), std::back_inserter(all));
  return all;
}

/// A plan from a criterion that looks at no images.
inline prune::Plan plan_for(PruneCase& c, const std::string& criterion,
                            const prune::PlanOptions& options, uint64_t seed = 1) {
  const prune::Structure s(c.model, c.images);
  Rng rng(seed);
  const prune::CriterionInfo& info = prune::find_criterion(criterion);
  const prune::Scores scores = prune::score(info, {c.model, s, rng});
  return prune::select(info, scores, s, c.model, c.images, options);
}

inline Tensor output(nn::Layer& model, const Tensor& x) {
  const nn::EvalMode eval(model);
  const NoGrad guard;
  return model(x);
}

}  // namespace pare::test
