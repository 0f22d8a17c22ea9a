// SqueezeNet 1.0, Iandola et al. 2016, arXiv:1602.07360, table 1. Fields are torchvision's. A Fire
// module squeezes to few channels and expands by 1x1 and 3x3 convolutions side by side.

#include "models/builders.h"
#include "nn/layers.h"

namespace pare::models {

namespace {

using nn::Layer;

struct Fire final : nn::Module {
  Fire(int64_t in, int64_t narrow, int64_t wide)
      : squeeze(nn::Conv2d({.in = in, .out = narrow, .kernel = 1})),
        expand1x1(nn::Conv2d({.in = narrow, .out = wide, .kernel = 1})),
        expand3x3(nn::Conv2d({.in = narrow, .out = wide, .kernel = 3, .pad = 1})) {}
  Tensor forward(const Tensor& x) override {
    const Tensor h = squeeze_activation(squeeze(x));
    return concat({expand1x1_activation(expand1x1(h)), expand3x3_activation(expand3x3(h))});
  }
  void visit(nn::Visitor& v) override {
    v("squeeze", squeeze)("squeeze_activation", squeeze_activation);
    v("expand1x1", expand1x1)("expand1x1_activation", expand1x1_activation);
    v("expand3x3", expand3x3)("expand3x3_activation", expand3x3_activation);
  }
  std::string describe() const override { return "Fire"; }

  Layer squeeze, squeeze_activation = nn::ReLU(), expand1x1, expand1x1_activation = nn::ReLU(),
                 expand3x3, expand3x3_activation = nn::ReLU();
};

struct SqueezeNet final : nn::Module {
  Tensor forward(const Tensor& x) override {
    return flatten(global_avg_pool2d(classifier(features(x))));
  }
  void visit(nn::Visitor& v) override { v("features", features)("classifier", classifier); }
  std::string describe() const override { return "SqueezeNet"; }

  Layer features, classifier;
};

}  // namespace

Layer squeezenet1_0(const Options& o) {
  const Layer pool = nn::MaxPool2d({.kernel = 3, .stride = 2, .ceil_mode = true});
  SqueezeNet net;
  net.features = nn::Sequential(
      {nn::Conv2d({.in = o.image[2], .out = 96, .kernel = 7, .stride = 2}), nn::ReLU(), pool,
       Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), pool, Fire(256, 32, 128),
       Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), pool, Fire(512, 64, 256)});
  net.classifier = nn::Sequential(
      {nn::Dropout(o.dropout), nn::Conv2d({.in = 512, .out = o.classes, .kernel = 1}), nn::ReLU()});
  return net;
}

}  // namespace pare::models
