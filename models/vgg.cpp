// VGG-16 with batch norm, Simonyan & Zisserman 2014, arXiv:1409.1556, configuration D, with the
// short head that is usual for CIFAR: 512 features, one linear layer. `features` is numbered as in
// torchvision, so its weights load up to the head.

#include "models/builders.h"
#include "nn/layers.h"

namespace pare::models {

namespace {

using nn::Layer;

struct Vgg final : nn::Module {
  Tensor forward(const Tensor& x) override {
    // 1x1 already for 32-pixel images; larger ones are averaged.
    return classifier(dropout(flatten(global_avg_pool2d(features(x)))));
  }
  void visit(nn::Visitor& v) override {
    v("features", features)("dropout", dropout)("classifier", classifier);
  }
  std::string describe() const override { return "Vgg"; }

  Layer features, dropout, classifier;
};

}  // namespace

Layer vgg16_bn(const Options& o) {
  PARE_CHECK(o.image[0] >= 32 && o.image[1] >= 32,
             "vgg16_bn: halves the image five times, which needs 32 pixels; got ", o.image);
  static const std::vector<int64_t> kWidths = {64,  64,  128, 128, 256, 256, 256,
                                               512, 512, 512, 512, 512, 512};
  const std::vector<int64_t>& widths = o.widths.empty() ? kWidths : o.widths;
  std::vector<Layer> layers;
  int64_t in = o.image[2];
  size_t next = 0;
  for (int convs : {2, 2, 3, 3, 3}) {
    for (int i = 0; i < convs; ++i) {
      const int64_t out = widths[next++];
      layers.push_back(nn::Conv2d({.in = in, .out = out, .kernel = 3, .pad = 1}));
      layers.push_back(nn::BatchNorm2d(out, {.momentum = o.bn_momentum}));
      layers.push_back(nn::ReLU());
      in = out;
    }
    layers.push_back(nn::MaxPool2d({.kernel = 2, .stride = 2}));
  }
  Vgg net;
  net.features = nn::Sequential(std::move(layers));
  if (o.dropout > 0) net.dropout = nn::Dropout(o.dropout);
  net.classifier = nn::Linear({.in = in, .out = o.classes});
  return net;
}

}  // namespace pare::models
