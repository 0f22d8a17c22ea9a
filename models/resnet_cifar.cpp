// ResNet for CIFAR, He et al. 2015, arXiv:1512.03385, section 4.2: 3x3 stem, three stages of n
// two-convolution blocks at strides 1, 2, 2; depth 6 n + 2. Field names are those of
// akamaster/pytorch_resnet_cifar10, whose weights load directly.

#include "models/builders.h"
#include "models/residual.h"

namespace pare::models {

namespace {

using nn::Layer;

struct ResNetCifar final : nn::Module {
  Tensor forward(const Tensor& x) override {
    const Tensor h = act(bn1(conv1(x)));
    return linear(flatten(global_avg_pool2d(layer3(layer2(layer1(h))))));
  }
  void visit(nn::Visitor& v) override {
    v("conv1", conv1)("bn1", bn1)("act", act)("layer1", layer1)("layer2", layer2)("layer3", layer3);
    v("linear", linear);
  }
  std::string describe() const override { return "ResNetCifar"; }

  Layer conv1, bn1, act = nn::ReLU(), layer1, layer2, layer3, linear;
};

Layer make_shortcut(int64_t in, int64_t out, int stride, const Options& o) {
  if (in == out && stride == 1) return {};
  if (o.shortcut == "A") return PadShortcut(in, out, stride);
  return projection(in, out, stride, o.bn_momentum);
}

Layer stage(int64_t in, int64_t width, int blocks, int stride, const Options& o) {
  std::vector<Layer> layers;
  for (int i = 0; i < blocks; ++i) {
    const int s = i == 0 ? stride : 1;
    layers.push_back(BasicBlock({.in = in,
                                 .width = width,
                                 .stride = s,
                                 .shortcut = make_shortcut(in, width, s, o),
                                 .bn_momentum = o.bn_momentum}));
    in = width;
  }
  return nn::Sequential(std::move(layers));
}

}  // namespace

Layer resnet_cifar(int depth, const Options& o) {
  PARE_CHECK(o.shortcut.empty() || o.shortcut == "A" || o.shortcut == "B",
             "resnet: unknown shortcut '", o.shortcut, "'",
             hint("A (subsample and pad with zero channels) or B (1x1 convolution)"));
  const std::vector<int64_t> w = o.widths.empty() ? std::vector<int64_t>{16, 32, 64} : o.widths;
  const int blocks = (depth - 2) / 6;
  ResNetCifar net;
  net.conv1 = conv({.in = o.image[2], .out = w[0]});
  net.bn1 = nn::BatchNorm2d(w[0], {.momentum = o.bn_momentum});
  net.layer1 = stage(w[0], w[0], blocks, 1, o);
  net.layer2 = stage(w[0], w[1], blocks, 2, o);
  net.layer3 = stage(w[1], w[2], blocks, 2, o);
  net.linear = nn::Linear({.in = w[2], .out = o.classes});
  return net;
}

}  // namespace pare::models
