// ResNet for ImageNet, He et al. 2015, arXiv:1512.03385, table 1. Field names are torchvision's.
//   stem "imagenet": 7x7 convolution with stride 2, then 3x3 max pool with stride 2
//   stem "cifar":    3x3 convolution with stride 1, no pool: for images of some 32 pixels

#include "models/builders.h"
#include "models/residual.h"

namespace pare::models {

namespace {

using nn::Layer;

struct ResNet final : nn::Module {
  Tensor forward(const Tensor& x) override {
    const Tensor h = maxpool(act(bn1(conv1(x))));
    return fc(flatten(global_avg_pool2d(layer4(layer3(layer2(layer1(h)))))));
  }
  void visit(nn::Visitor& v) override {
    v("conv1", conv1)("bn1", bn1)("act", act)("maxpool", maxpool);
    v("layer1", layer1)("layer2", layer2)("layer3", layer3)("layer4", layer4)("fc", fc);
  }
  std::string describe() const override { return "ResNet"; }

  Layer conv1, bn1, act = nn::ReLU(), maxpool, layer1, layer2, layer3, layer4, fc;
};

struct Plan {
  std::vector<int> blocks;  // per stage
  bool bottleneck;
};

Plan plan_of(int depth) {
  switch (depth) {
    case 18:
      return {{2, 2, 2, 2}, false};
    case 34:
      return {{3, 4, 6, 3}, false};
    case 50:
      return {{3, 4, 6, 3}, true};
  }
  throw Error(str("resnet: no plan for depth ", depth), "plan_of");
}

bool imagenet_stem(const Options& o) {
  constexpr int64_t kSmallImage = 64;
  if (o.stem.empty()) return std::max(o.image[0], o.image[1]) > kSmallImage;
  PARE_CHECK(o.stem == "imagenet" || o.stem == "cifar", "resnet: unknown stem '", o.stem, "'",
             hint("imagenet (7x7, stride 2, max pool) or cifar (3x3, stride 1)"));
  return o.stem == "imagenet";
}

/// `in` is the number of channels that arrive; afterwards, of those that leave.
Layer stage(int64_t& in, int64_t width, int blocks, int stride, bool bottleneck, float momentum) {
  const int64_t out = bottleneck ? width * Bottleneck::kExpansion : width;
  std::vector<Layer> layers;
  for (int i = 0; i < blocks; ++i) {
    const int s = i == 0 ? stride : 1;
    BlockOptions o{.in = in,
                   .width = width,
                   .stride = s,
                   .shortcut = {},
                   .shortcut_name = "downsample",
                   .bn_momentum = momentum};
    if (in != out || s != 1) o.shortcut = projection(in, out, s, momentum);
    layers.push_back(bottleneck ? Layer(Bottleneck(std::move(o)))
                                : Layer(BasicBlock(std::move(o))));
    in = out;
  }
  return nn::Sequential(std::move(layers));
}

}  // namespace

Layer resnet_imagenet(int depth, const Options& o) {
  const Plan plan = plan_of(depth);
  const std::vector<int64_t> w =
      o.widths.empty() ? std::vector<int64_t>{64, 128, 256, 512} : o.widths;
  const bool large = imagenet_stem(o);
  ResNet net;
  net.conv1 =
      conv({.in = o.image[2], .out = w[0], .kernel = large ? 7 : 3, .stride = large ? 2 : 1});
  net.bn1 = nn::BatchNorm2d(w[0], {.momentum = o.bn_momentum});
  if (large) net.maxpool = nn::MaxPool2d({.kernel = 3, .stride = 2, .pad = 1});
  int64_t in = w[0];
  Layer* const stages[] = {&net.layer1, &net.layer2, &net.layer3, &net.layer4};
  for (size_t i = 0; i < 4; ++i) {
    *stages[i] = stage(in, w[i], plan.blocks[i], i == 0 ? 1 : 2, plan.bottleneck, o.bn_momentum);
  }
  net.fc = nn::Linear({.in = in, .out = o.classes});
  return net;
}

}  // namespace pare::models
