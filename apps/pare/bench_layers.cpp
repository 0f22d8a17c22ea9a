#include "apps/pare/bench_layers.h"

#include <fmt/format.h>

#include <array>

#include "apps/pare/bench.h"
#include "core/autograd.h"
#include "core/ops/conv_passes.h"
#include "nn/conv2d.h"

namespace pare::bench {

namespace {

using kernels::ConvShape;

bool same(const ConvShape& a, const ConvShape& b) {
  const auto sizes = [](const ConvShape& s) {
    return std::array{s.images,   s.height,     s.width,      s.in,       s.out,
                      s.kernel_h, s.kernel_w,   s.stride_h,   s.stride_w, s.pad_h,
                      s.pad_w,    s.dilation_h, s.dilation_w, s.groups};
  };
  return sizes(a) == sizes(b);
}

/// Writes down every convolution that is called.
class Finder final : public nn::ForwardObserver {
 public:
  explicit Finder(int64_t batch) : batch_(batch) {}
  std::vector<ConvLayer> layers;

 private:
  void after(nn::Module& module, const Tensor& x, const Tensor&) override {
    const auto* conv = dynamic_cast<const nn::Conv2d*>(&module);
    if (!conv) return;
    const nn::Conv2dOptions& o = conv->opt;
    const ConvShape shape{.images = batch_,
                          .height = x.dim(1),
                          .width = x.dim(2),
                          .in = o.in,
                          .out = o.out,
                          .kernel_h = o.kernel.h,
                          .kernel_w = o.kernel.w,
                          .stride_h = o.stride.h,
                          .stride_w = o.stride.w,
                          .pad_h = o.pad.h,
                          .pad_w = o.pad.w,
                          .dilation_h = o.dilation.h,
                          .dilation_w = o.dilation.w,
                          .groups = o.groups};
    const bool first = layers.empty();
    for (ConvLayer& known : layers) {
      if (!known.sees_images && same(known.shape, shape)) {
        ++known.count;
        return;
      }
    }
    layers.push_back({.path = module.path, .shape = shape, .sees_images = first});
  }

  int64_t batch_;
};

/// "x2" or "x2x3"
std::string sizes(const char* mark, int64_t h, int64_t w) {
  return h == w ? fmt::format(" {}{}", mark, h) : fmt::format(" {}{}x{}", mark, h, w);
}

}  // namespace

const char* name_of(Pass pass) {
  switch (pass) {
    case Pass::forward:
      return "forward";
    case Pass::data_gradient:
      return "data_gradient";
    default:
      return "weight_gradient";
  }
}

std::string ConvLayer::input() const {
  return fmt::format("{}x{}x{}", shape.height, shape.width, shape.in);
}

std::string ConvLayer::output() const {
  return fmt::format("{}x{}x{}", shape.out_h(), shape.out_w(), shape.out);
}

std::string ConvLayer::kernel() const {
  std::string text = fmt::format("{}x{}", shape.kernel_h, shape.kernel_w);
  if (shape.stride_h != 1 || shape.stride_w != 1)
    text += sizes("s", shape.stride_h, shape.stride_w);
  if (shape.dilation_h != 1 || shape.dilation_w != 1) {
    text += sizes("d", shape.dilation_h, shape.dilation_w);
  }
  if (shape.groups != 1) text += fmt::format(" g{}", shape.groups);
  return text;
}

void check_shape(const ConvShape& s) {
  PARE_CHECK(s.in % s.groups == 0 && s.out % s.groups == 0, "bench conv: ", s.in, " input and ",
             s.out, " output channels cannot be cut into ", s.groups, " groups");
  PARE_CHECK(s.height + 2 * s.pad_h > s.dilation_h * (s.kernel_h - 1) &&
                 s.width + 2 * s.pad_w > s.dilation_w * (s.kernel_w - 1),
             "bench conv: the kernel does not fit into the padded input of ", s.height, "x",
             s.width);
}

std::vector<ConvLayer> conv_layers(nn::Layer& model, const Shape& image, int64_t batch) {
  nn::assign_paths(model);
  const nn::EvalMode eval(model);
  const NoGrad guard;
  Finder finder(batch);
  model(Tensor::zeros({1, image[0], image[1], image[2]}));
  return std::move(finder.layers);
}

ConvWork::ConvWork(const ConvShape& s) : shape_(s) {
  check_shape(s);
  Rng rng(1);
  x_ = Tensor::normal({s.images, s.height, s.width, s.in}, rng);
  w_ = Tensor::normal({s.out, s.kernel_h, s.kernel_w, s.in / s.groups}, rng);
  dy_ = Tensor::normal({s.images, s.out_h(), s.out_w(), s.out}, rng);
}

double ConvWork::run(Pass pass) const {
  return seconds_of([&] {
    switch (pass) {
      case Pass::forward:
        return conv_forward(shape_, x_, w_, {}, dy_.shape()).data();
      case Pass::data_gradient:
        return conv_data_gradient(shape_, dy_, w_, {}, x_.shape()).data();
      default:
        return conv_weight_gradient(shape_, x_, dy_, w_.shape(), nullptr).data();
    }
  });
}

}  // namespace pare::bench
