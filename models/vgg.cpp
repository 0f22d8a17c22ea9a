// VGG-16 with batch norm, Simonyan & Zisserman 2014, arXiv:1409.1556, configuration D. Fields and
// numbers are torchvision's. Images of more than 64 pixels get the paper's three linear layers on
// all that is left of the image; smaller ones the short head that is usual for CIFAR: 512 features,
// one linear layer.

#include <algorithm>

#include "models/builders.h"
#include "models/plain.h"

namespace pare::models {

namespace {

using nn::Layer;

struct Vgg final : nn::Module {
  Tensor forward(const Tensor& x) override {
    const Tensor h = features(x);
    return classifier(dropout(flatten(average ? global_avg_pool2d(h) : h)));
  }
  void visit(nn::Visitor& v) override {
    v("features", features)("dropout", dropout)("classifier", classifier);
  }
  std::string describe() const override { return "Vgg"; }

  bool average = true;
  Layer features, dropout, classifier;
};

/// `in` features per pixel of what five halvings leave: 7x7 of 224 pixels.
Layer large_head(int64_t in, const Options& o) {
  constexpr int64_t kHalvings = 32, kHidden = 4096;
  const int64_t pixels = (o.image[0] / kHalvings) * (o.image[1] / kHalvings);
  return nn::Sequential({nn::Linear({.in = in * pixels, .out = kHidden}), nn::ReLU(),
                         nn::Dropout(o.dropout), nn::Linear({.in = kHidden, .out = kHidden}),
                         nn::ReLU(), nn::Dropout(o.dropout),
                         nn::Linear({.in = kHidden, .out = o.classes})});
}

}  // namespace

Layer vgg16_bn(const Options& o) {
  constexpr int64_t kSmallImage = 64;
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
      append_conv(layers, {.in = in, .out = out, .kernel = 3, .pad = 1}, o.bn_momentum);
      in = out;
    }
    layers.push_back(nn::MaxPool2d({.kernel = 2, .stride = 2}));
  }
  Vgg net;
  net.features = nn::Sequential(std::move(layers));
  net.average = std::max(o.image[0], o.image[1]) <= kSmallImage;
  if (net.average && o.dropout > 0) net.dropout = nn::Dropout(o.dropout);
  net.classifier =
      net.average ? Layer(nn::Linear({.in = in, .out = o.classes})) : large_head(in, o);
  return net;
}

}  // namespace pare::models
