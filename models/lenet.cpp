// LeNet-5, LeCun et al. 1998, with ReLU and max pooling in place of scaled tanh and trained
// subsampling. Images of 28 pixels are padded to the 32 that the paper works on.

#include "models/builders.h"
#include "nn/layers.h"

namespace pare::models {

namespace {

using nn::Layer;

struct LeNet5 final : nn::Module {
  Tensor forward(const Tensor& x) override {
    constexpr PoolOptions kHalve{.kernel = 2, .stride = 2};
    Tensor h = max_pool2d(act1(conv1(x)), kHalve);
    h = max_pool2d(act2(conv2(h)), kHalve);
    return fc3(act4(fc2(act3(fc1(flatten(h))))));
  }
  void visit(nn::Visitor& v) override {
    v("conv1", conv1)("act1", act1)("conv2", conv2)("act2", act2);
    v("fc1", fc1)("act3", act3)("fc2", fc2)("act4", act4)("fc3", fc3);
  }
  std::string describe() const override { return "LeNet5"; }

  Layer conv1, conv2, fc1, fc2, fc3;
  Layer act1 = nn::ReLU(), act2 = nn::ReLU(), act3 = nn::ReLU(), act4 = nn::ReLU();
};

/// Pixels left along one side by 5x5 (padded), halving, 5x5, halving.
int64_t pixels_left(int64_t side, int pad) { return ((side + 2 * pad - 4) / 2 - 4) / 2; }

}  // namespace

Layer lenet5(const Options& o) {
  const std::vector<int64_t> w = o.widths.empty() ? std::vector<int64_t>{6, 16, 120, 84} : o.widths;
  const auto pad = [](int64_t side) { return side <= 28 ? 2 : 0; };
  const Hw around(pad(o.image[0]), pad(o.image[1]));
  const int64_t h = pixels_left(o.image[0], around.h), width = pixels_left(o.image[1], around.w);
  PARE_CHECK(h > 0 && width > 0, "lenet5: the image is too small: ", o.image,
             hint("28 or 32 pixels are usual"));
  LeNet5 net;
  net.conv1 = nn::Conv2d({.in = o.image[2], .out = w[0], .kernel = 5, .pad = around});
  net.conv2 = nn::Conv2d({.in = w[0], .out = w[1], .kernel = 5});
  net.fc1 = nn::Linear({.in = w[1] * h * width, .out = w[2]});
  net.fc2 = nn::Linear({.in = w[2], .out = w[3]});
  net.fc3 = nn::Linear({.in = w[3], .out = o.classes});
  return net;
}

}  // namespace pare::models
