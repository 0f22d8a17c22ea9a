// AlexNet with batch norm: Krizhevsky 2014, "One weird trick", arXiv:1404.5997, as in torchvision,
// batch norm behind each convolution in place of local response normalization. Widths are those of
// five convolutions and two linear layers; 96,256,384,384,256,4096,4096 is the paper of 2012.

#include "models/builders.h"
#include "models/plain.h"

namespace pare::models {

namespace {

using nn::Layer;

struct AlexNet final : nn::Module {
  Tensor forward(const Tensor& x) override { return classifier(flatten(features(x))); }
  void visit(nn::Visitor& v) override { v("features", features)("classifier", classifier); }
  std::string describe() const override { return "AlexNet"; }

  Layer features, classifier;
};

/// Pixels along one side behind all convolutions: 6 of 224.
int64_t pixels_left(int64_t side) {
  const auto pooled = [](int64_t n) { return (n - 3) / 2 + 1; };
  return pooled(pooled(pooled((side + 4 - 11) / 4 + 1)));
}

}  // namespace

Layer alexnet_bn(const Options& o) {
  PARE_CHECK(o.image[0] >= 63 && o.image[1] >= 63,
             "alexnet_bn: needs images of at least 63 pixels, got ", o.image);
  const std::vector<int64_t> w =
      o.widths.empty() ? std::vector<int64_t>{64, 192, 384, 256, 256, 4096, 4096} : o.widths;
  std::vector<Layer> layers;
  const auto conv = [&](const nn::Conv2dOptions& c) { append_conv(layers, c, o.bn_momentum); };
  conv({.in = o.image[2], .out = w[0], .kernel = 11, .stride = 4, .pad = 2});
  layers.push_back(pool_3_of_2());
  conv({.in = w[0], .out = w[1], .kernel = 5, .pad = 2});
  layers.push_back(pool_3_of_2());
  for (size_t i = 2; i < 5; ++i) conv({.in = w[i - 1], .out = w[i], .kernel = 3, .pad = 1});
  layers.push_back(pool_3_of_2());
  const int64_t in = w[4] * pixels_left(o.image[0]) * pixels_left(o.image[1]);
  AlexNet net;
  net.features = nn::Sequential(std::move(layers));
  net.classifier =
      nn::Sequential({nn::Dropout(o.dropout), nn::Linear({.in = in, .out = w[5]}), nn::ReLU(),
                      nn::Dropout(o.dropout), nn::Linear({.in = w[5], .out = w[6]}), nn::ReLU(),
                      nn::Linear({.in = w[6], .out = o.classes})});
  return net;
}

}  // namespace pare::models
