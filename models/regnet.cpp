// RegNetX-600MF, Radosavovic et al. 2020, arXiv:2003.13678: stages of bottlenecks of one width,
// whose 3x3 convolutions have groups of 24 channels. Fields are those of torchvision's RegNets.

#include "models/builders.h"
#include "nn/layers.h"

namespace pare::models {

namespace {

using nn::Layer;

Layer conv_bn(const nn::Conv2dOptions& options, bool relu, float momentum) {
  std::vector<Layer> layers{nn::Conv2d(options),
                            nn::BatchNorm2d(options.out, {.momentum = momentum})};
  if (relu) layers.push_back(nn::ReLU());
  return nn::Sequential(std::move(layers));
}

/// y = relu(proj(x) + f(x))
struct Block final : nn::Module {
  Tensor forward(const Tensor& x) override { return activation(proj(x) + f(x)); }
  void visit(nn::Visitor& v) override { v("proj", proj)("f", f)("activation", activation); }
  std::string describe() const override { return "Block"; }

  Layer proj, f, activation = nn::ReLU();
};

/// Children with names of their own.
struct Named final : nn::Module {
  Tensor forward(const Tensor& x) override {
    Tensor y = x;
    for (const Layer& layer : layers) y = layer(y);
    return y;
  }
  void visit(nn::Visitor& v) override {
    for (size_t i = 0; i < layers.size(); ++i) v(names[i], layers[i]);
  }
  std::string describe() const override { return "Named"; }
  void add(const std::string& name, Layer layer) {
    names.push_back(name);
    layers.push_back(std::move(layer));
  }

  std::vector<std::string> names;
  std::vector<Layer> layers;
};

Layer block(int64_t in, int64_t width, int stride, float momentum) {
  constexpr int64_t kGroupWidth = 24;
  const int groups = static_cast<int>(width / kGroupWidth);
  Named f;
  f.add("a", conv_bn({.in = in, .out = width, .kernel = 1, .bias = false}, true, momentum));
  f.add("b", conv_bn({.in = width,
                      .out = width,
                      .kernel = 3,
                      .stride = stride,
                      .pad = 1,
                      .groups = groups,
                      .bias = false},
                     true, momentum));
  f.add("c", conv_bn({.in = width, .out = width, .kernel = 1, .bias = false}, false, momentum));
  Block b;
  if (in != width || stride != 1) {
    b.proj = conv_bn({.in = in, .out = width, .kernel = 1, .stride = stride, .bias = false}, false,
                     momentum);
  }
  b.f = std::move(f);
  return b;
}

struct RegNet final : nn::Module {
  Tensor forward(const Tensor& x) override {
    return fc(flatten(global_avg_pool2d(trunk_output(stem(x)))));
  }
  void visit(nn::Visitor& v) override { v("stem", stem)("trunk_output", trunk_output)("fc", fc); }
  std::string describe() const override { return "RegNet"; }

  Layer stem, trunk_output, fc;
};

}  // namespace

Layer regnet_x_600mf(const Options& o) {
  const std::pair<int64_t, int> kStages[] = {{48, 1}, {96, 3}, {240, 5}, {528, 7}};
  RegNet net;
  net.stem =
      conv_bn({.in = o.image[2], .out = 32, .kernel = 3, .stride = 2, .pad = 1, .bias = false},
              true, o.bn_momentum);
  Named trunk;
  int64_t in = 32;
  for (size_t i = 0; i < std::size(kStages); ++i) {
    Named stage;
    for (int j = 0; j < kStages[i].second; ++j, in = kStages[i].first) {
      stage.add(str("block", i + 1, "-", j),
                block(in, kStages[i].first, j == 0 ? 2 : 1, o.bn_momentum));
    }
    trunk.add(str("block", i + 1), std::move(stage));
  }
  net.trunk_output = std::move(trunk);
  net.fc = nn::Linear({.in = in, .out = o.classes});
  return net;
}

}  // namespace pare::models
