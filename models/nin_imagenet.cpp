// Network in Network for ImageNet, arXiv:1312.4400, as its authors gave it to Caffe's model zoo,
// with batch norm: four times a convolution and two 1x1 ones, pools between them, the average over
// the image as logits. The last convolution stands alone.

#include "models/builders.h"
#include "models/plain.h"

namespace pare::models {

namespace {

using nn::Layer;

struct NinImagenet final : nn::Module {
  Tensor forward(const Tensor& x) override { return flatten(global_avg_pool2d(features(x))); }
  void visit(nn::Visitor& v) override { v("features", features); }
  std::string describe() const override { return "NinImagenet"; }

  Layer features;
};

}  // namespace

Layer nin_imagenet(const Options& o) {
  PARE_CHECK(o.image[0] >= 67 && o.image[1] >= 67,
             "nin_imagenet: needs images of at least 67 pixels, got ", o.image);
  const std::vector<int64_t> w =
      o.widths.empty() ? std::vector<int64_t>{96, 256, 384, 1024} : o.widths;
  std::vector<Layer> layers;
  const auto conv = [&](const nn::Conv2dOptions& c) { append_conv(layers, c, o.bn_momentum); };
  const auto pointwise = [&](int64_t n) { conv({.in = n, .out = n, .kernel = 1}); };
  conv({.in = o.image[2], .out = w[0], .kernel = 11, .stride = 4});
  for (size_t i = 0; i < 3; ++i) {
    pointwise(w[i]);
    pointwise(w[i]);
    layers.push_back(pool_3_of_2());
    if (i == 2) layers.push_back(nn::Dropout(o.dropout));
    const int kernel = i == 0 ? 5 : 3;
    conv({.in = w[i], .out = w[i + 1], .kernel = kernel, .pad = kernel / 2});
  }
  pointwise(w[3]);
  layers.push_back(nn::Conv2d({.in = w[3], .out = o.classes, .kernel = 1}));
  NinImagenet net;
  net.features = nn::Sequential(std::move(layers));
  return net;
}

}  // namespace pare::models
