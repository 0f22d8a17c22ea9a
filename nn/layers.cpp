#include "nn/layers.h"

#include "nn/text.h"

namespace pare::nn {

BatchNorm2d::BatchNorm2d(int64_t channels, const Options& options) : opt(options) {
  PARE_CHECK(channels > 0, "BatchNorm2d: channels must be positive, got ", channels);
  PARE_CHECK(opt.momentum >= 0 && opt.momentum <= 1, "BatchNorm2d: momentum must be in 0..1, got ",
             opt.momentum);
  PARE_CHECK(opt.eps > 0, "BatchNorm2d: eps must be positive, got ", opt.eps);
  if (opt.affine) {
    weight = Tensor::ones({channels}).requires_grad_();
    bias = Tensor::zeros({channels}).requires_grad_();
  }
  running_mean = Tensor::zeros({channels});
  running_var = Tensor::ones({channels});
}

Tensor BatchNorm2d::forward(const Tensor& x) {
  return batch_norm(x, weight, bias, running_mean, running_var,
                    {.train = training, .momentum = opt.momentum, .eps = opt.eps, .group = group});
}

std::string BatchNorm2d::describe() const {
  return Description("BatchNorm2d")
      .arg(running_mean.numel())
      .option("momentum", opt.momentum, 0.1f)
      .option("eps", opt.eps, 1e-5f)
      .option("affine", opt.affine, true);
}

LayerNorm::LayerNorm(int64_t features, float epsilon) : eps(epsilon) {
  PARE_CHECK(features > 0, "LayerNorm: features must be positive, got ", features);
  PARE_CHECK(eps > 0, "LayerNorm: eps must be positive, got ", eps);
  weight = Tensor::ones({features}).requires_grad_();
  bias = Tensor::zeros({features}).requires_grad_();
}

std::string LayerNorm::describe() const {
  return Description("LayerNorm").arg(weight.numel()).option("eps", eps, 1e-5f);
}

std::string Activation::describe() const {
  using Kind = Pointwise::Kind;
  switch (f.kind) {
    case Kind::relu:
      return "ReLU";
    case Kind::relu6:
      return "ReLU6";
    case Kind::leaky_relu:
      return Description("LeakyReLU").arg(f.a);
    case Kind::hard_swish:
      return "HardSwish";
    case Kind::silu:
      return "SiLU";
    case Kind::gelu:
      return "GELU";
    case Kind::sigmoid:
      return "Sigmoid";
    case Kind::tanh:
      return "Tanh";
    default:
      return Description("Activation").arg(f.name());
  }
}

Activation ReLU() { return Activation({.kind = Pointwise::Kind::relu}); }
Activation ReLU6() { return Activation({.kind = Pointwise::Kind::relu6}); }
Activation LeakyReLU(float slope) {
  PARE_CHECK(slope >= 0, "LeakyReLU: slope must not be negative, got ", slope);
  return Activation({.kind = Pointwise::Kind::leaky_relu, .a = slope});
}
Activation HardSwish() { return Activation({.kind = Pointwise::Kind::hard_swish}); }
Activation SiLU() { return Activation({.kind = Pointwise::Kind::silu}); }
Activation GELU() { return Activation({.kind = Pointwise::Kind::gelu}); }
Activation Sigmoid() { return Activation({.kind = Pointwise::Kind::sigmoid}); }
Activation Tanh() { return Activation({.kind = Pointwise::Kind::tanh}); }

namespace {

Description describe_pool(const char* name, const PoolOptions& o) {
  Description d(name);
  d.arg(o.kernel).option("stride", o.stride).option("pad", o.pad, Hw(0));
  return d.option("ceil_mode", o.ceil_mode, false);
}

}  // namespace

std::string MaxPool2d::describe() const { return describe_pool("MaxPool2d", opt); }

std::string AvgPool2d::describe() const {
  return describe_pool("AvgPool2d", opt).option("count_include_pad", opt.count_include_pad, true);
}

ChannelShuffle::ChannelShuffle(int group_count) : groups(group_count) {
  PARE_CHECK(groups > 0, "ChannelShuffle: groups must be positive, got ", groups);
}

std::string ChannelShuffle::describe() const { return Description("ChannelShuffle").arg(groups); }

Dropout::Dropout(float probability) : p(probability) {
  PARE_CHECK(p >= 0 && p < 1, "Dropout: p must be in 0..1 without 1, got ", p);
}

std::string Dropout::describe() const { return Description("Dropout").arg(p); }

Tensor Sequential::forward(const Tensor& x) {
  Tensor y = x;
  for (const Layer& layer : layers) y = layer(y);
  return y;
}

void Sequential::visit(Visitor& v) {
  for (size_t i = 0; i < layers.size(); ++i) v(std::to_string(i), layers[i]);
}

std::string Sequential::describe() const { return Description("Sequential").arg(layers.size()); }

}  // namespace pare::nn
