// Networks of depthwise convolutions, all with batch norm and ReLU6 or ReLU:
//   MobileNetV1      Howard et al. 2017, arXiv:1704.04861, table 1
//   MobileNetV2      Sandler et al. 2018, arXiv:1801.04381, table 2; fields are torchvision's
//   EfficientNet-Lite0  Tan & Le 2019, arXiv:1905.11946, without squeeze-and-excitation and with
//                    ReLU6; fields are timm's

#include "models/builders.h"
#include "nn/layers.h"

namespace pare::models {

namespace {

using nn::Layer;

struct Step {
  int64_t in, out;
  int kernel = 3, stride = 1;
  int64_t groups = 1;
};

Layer plain_conv(const Step& s) {
  return nn::Conv2d({.in = s.in,
                     .out = s.out,
                     .kernel = s.kernel,
                     .stride = s.stride,
                     .pad = (s.kernel - 1) / 2,
                     .groups = static_cast<int>(s.groups),
                     .bias = false});
}

/// "0" convolution, "1" batch norm, "2" activation.
Layer conv_bn(const Step& s, const Layer& act, float momentum) {
  return nn::Sequential({plain_conv(s), nn::BatchNorm2d(s.out, {.momentum = momentum}), act});
}

/// What every classifier of images ends in.
struct Head final : nn::Module {
  Tensor forward(const Tensor& x) override {
    return classifier(flatten(global_avg_pool2d(features(x))));
  }
  void visit(nn::Visitor& v) override { v("features", features)(name, classifier); }
  std::string describe() const override { return title; }

  const char* title = "";
  const char* name = "classifier";
  Layer features, classifier;
};

/// x + f(x) where the sizes allow it, else f(x).
struct InvertedResidual final : nn::Module {
  Tensor forward(const Tensor& x) override { return adds ? x + conv(x) : conv(x); }
  void visit(nn::Visitor& v) override { v("conv", conv); }
  std::string describe() const override {
    return adds ? "InvertedResidual(add)" : "InvertedResidual";
  }

  bool adds = false;
  Layer conv;
};

Layer inverted_residual(int64_t in, int64_t out, int stride, int expand, float momentum) {
  const int64_t hidden = in * expand;
  std::vector<Layer> layers;
  if (expand != 1) {
    layers.push_back(conv_bn({.in = in, .out = hidden, .kernel = 1}, nn::ReLU6(), momentum));
  }
  layers.push_back(conv_bn({.in = hidden, .out = hidden, .stride = stride, .groups = hidden},
                           nn::ReLU6(), momentum));
  layers.push_back(plain_conv({.in = hidden, .out = out, .kernel = 1}));
  layers.push_back(nn::BatchNorm2d(out, {.momentum = momentum}));
  InvertedResidual block;
  block.adds = stride == 1 && in == out;
  block.conv = nn::Sequential(std::move(layers));
  return block;
}

/// A run of blocks of one width.
struct Stage {
  int expand, kernel, stride;
  int64_t width;
  int blocks;
};

/// timm's block: conv_pw, conv_dw, conv_pwl; the first is missing without expansion, and then the
/// others are conv_dw, conv_pw.
struct LiteBlock final : nn::Module {
  LiteBlock(int64_t in, const Stage& s, int stride, float momentum)
      : expands(s.expand != 1), adds(stride == 1 && in == s.width) {
    const int64_t hidden = in * s.expand;
    const auto norm = [momentum](int64_t c) { return nn::BatchNorm2d(c, {.momentum = momentum}); };
    if (expands) conv_pw = plain_conv({.in = in, .out = hidden, .kernel = 1}), bn1 = norm(hidden);
    conv_dw = plain_conv({hidden, hidden, s.kernel, stride, hidden}), bn2 = norm(hidden);
    conv_pwl = plain_conv({.in = hidden, .out = s.width, .kernel = 1}), bn3 = norm(s.width);
  }
  Tensor forward(const Tensor& x) override {
    const Tensor wide = expands ? act1(bn1(conv_pw(x))) : x;
    const Tensor y = bn3(conv_pwl(act2(bn2(conv_dw(wide)))));
    return adds ? x + y : y;
  }
  void visit(nn::Visitor& v) override {
    if (expands) {
      v("conv_pw", conv_pw)("bn1", bn1)("act1", act1)("conv_dw", conv_dw)("bn2", bn2);
      v("act2", act2)("conv_pwl", conv_pwl)("bn3", bn3);
    } else {
      v("conv_dw", conv_dw)("bn1", bn2)("act1", act2)("conv_pw", conv_pwl)("bn2", bn3);
    }
  }
  std::string describe() const override { return adds ? "LiteBlock(add)" : "LiteBlock"; }

  bool expands, adds;
  Layer conv_pw, bn1, act1 = nn::ReLU6(), conv_dw, bn2, act2 = nn::ReLU6(), conv_pwl, bn3;
};

struct EfficientNetLite final : nn::Module {
  Tensor forward(const Tensor& x) override {
    const Tensor h = act2(bn2(conv_head(blocks(act1(bn1(conv_stem(x)))))));
    return classifier(flatten(global_avg_pool2d(h)));
  }
  void visit(nn::Visitor& v) override {
    v("conv_stem", conv_stem)("bn1", bn1)("act1", act1)("blocks", blocks);
    v("conv_head", conv_head)("bn2", bn2)("act2", act2)("classifier", classifier);
  }
  std::string describe() const override { return "EfficientNetLite"; }

  Layer conv_stem, bn1, act1 = nn::ReLU6(), blocks, conv_head, bn2, act2 = nn::ReLU6(), classifier;
};

}  // namespace

Layer mobilenet_v1(const Options& o) {
  const float momentum = o.bn_momentum;
  std::vector<Layer> layers{
      conv_bn({.in = o.image[2], .out = 32, .stride = 2}, nn::ReLU(), momentum)};
  int64_t in = 32;
  const std::pair<int64_t, int> kSteps[] = {{64, 1},  {128, 2},  {128, 1}, {256, 2}, {256, 1},
                                            {512, 2}, {512, 1},  {512, 1}, {512, 1}, {512, 1},
                                            {512, 1}, {1024, 2}, {1024, 1}};
  for (const auto& step : kSteps) {
    const auto [out, stride] = step;
    layers.push_back(nn::Sequential({plain_conv({in, in, 3, stride, in}),
                                     nn::BatchNorm2d(in, {.momentum = momentum}), nn::ReLU(),
                                     plain_conv({.in = in, .out = out, .kernel = 1}),
                                     nn::BatchNorm2d(out, {.momentum = momentum}), nn::ReLU()}));
    in = out;
  }
  Head net;
  net.title = "MobileNetV1", net.name = "fc";
  net.features = nn::Sequential(std::move(layers));
  net.classifier = nn::Linear({.in = in, .out = o.classes});
  return net;
}

Layer mobilenet_v2(const Options& o) {
  const Stage kStages[] = {{1, 3, 1, 16, 1}, {6, 3, 2, 24, 2},  {6, 3, 2, 32, 3}, {6, 3, 2, 64, 4},
                           {6, 3, 1, 96, 3}, {6, 3, 2, 160, 3}, {6, 3, 1, 320, 1}};
  std::vector<Layer> layers{
      conv_bn({.in = o.image[2], .out = 32, .stride = 2}, nn::ReLU6(), o.bn_momentum)};
  int64_t in = 32;
  for (const Stage& s : kStages) {
    for (int i = 0; i < s.blocks; ++i, in = s.width) {
      layers.push_back(
          inverted_residual(in, s.width, i == 0 ? s.stride : 1, s.expand, o.bn_momentum));
    }
  }
  layers.push_back(conv_bn({.in = in, .out = 1280, .kernel = 1}, nn::ReLU6(), o.bn_momentum));
  Head net;
  net.title = "MobileNetV2";
  net.features = nn::Sequential(std::move(layers));
  net.classifier =
      nn::Sequential({nn::Dropout(o.dropout), nn::Linear({.in = 1280, .out = o.classes})});
  return net;
}

Layer efficientnet_lite0(const Options& o) {
  const Stage kStages[] = {{1, 3, 1, 16, 1},  {6, 3, 2, 24, 2},  {6, 5, 2, 40, 2}, {6, 3, 2, 80, 3},
                           {6, 5, 1, 112, 3}, {6, 5, 2, 192, 4}, {6, 3, 1, 320, 1}};
  EfficientNetLite net;
  net.conv_stem = plain_conv({.in = o.image[2], .out = 32, .stride = 2});
  net.bn1 = nn::BatchNorm2d(32, {.momentum = o.bn_momentum});
  std::vector<Layer> stages;
  int64_t in = 32;
  for (const Stage& s : kStages) {
    std::vector<Layer> blocks;
    for (int i = 0; i < s.blocks; ++i, in = s.width) {
      blocks.push_back(LiteBlock(in, s, i == 0 ? s.stride : 1, o.bn_momentum));
    }
    stages.push_back(nn::Sequential(std::move(blocks)));
  }
  net.blocks = nn::Sequential(std::move(stages));
  net.conv_head = plain_conv({.in = in, .out = 1280, .kernel = 1});
  net.bn2 = nn::BatchNorm2d(1280, {.momentum = o.bn_momentum});
  net.classifier = nn::Linear({.in = 1280, .out = o.classes});
  return net;
}

}  // namespace pare::models
