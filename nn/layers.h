#pragma once
// Layers that are one op and its options.

#include <vector>

#include "core/ops.h"
#include "nn/conv2d.h"
#include "nn/linear.h"
#include "nn/module.h"

namespace pare::nn {

/// y = weight (x - mean) / sqrt(var + eps) + bias per channel; batch statistics while training,
/// else running ones.
struct BatchNorm2d final : Module {
  struct Options {
    float momentum = 0.1f, eps = 1e-5f;
    bool affine = true;
  };
  explicit BatchNorm2d(int64_t channels) : BatchNorm2d(channels, Options{}) {}
  BatchNorm2d(int64_t channels, const Options& options);
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& v) override {
    v("weight", weight)("bias", bias)
        .buffer("running_mean", running_mean)
        .buffer("running_var", running_var);
  }
  std::string describe() const override;

  Options opt;
  Tensor weight, bias, running_mean, running_var;  // [C] each
  Communicator* group = nullptr;                   // whose batches are taken as one
};

struct LayerNorm final : Module {
  explicit LayerNorm(int64_t features, float eps = 1e-5f);
  Tensor forward(const Tensor& x) override { return layer_norm(x, weight, bias, eps); }
  void visit(Visitor& v) override { v("weight", weight)("bias", bias); }
  std::string describe() const override;

  float eps;
  Tensor weight, bias;
};

/// Any unary function: Activation(Pointwise::Kind::relu).
struct Activation final : Module {
  explicit Activation(const Pointwise& function) : f(function) {}
  Tensor forward(const Tensor& x) override { return pointwise(f, x); }
  std::string describe() const override;

  Pointwise f;
};
Activation ReLU();
Activation ReLU6();
Activation LeakyReLU(float slope = 0.01f);
Activation HardSwish();
Activation SiLU();
Activation GELU();
Activation Sigmoid();
Activation Tanh();

struct MaxPool2d final : Module {
  explicit MaxPool2d(const PoolOptions& options) : opt(options) {}
  Tensor forward(const Tensor& x) override { return max_pool2d(x, opt); }
  std::string describe() const override;
  PoolOptions opt;
};

struct AvgPool2d final : Module {
  explicit AvgPool2d(const PoolOptions& options) : opt(options) {}
  Tensor forward(const Tensor& x) override { return avg_pool2d(x, opt); }
  std::string describe() const override;
  PoolOptions opt;
};

/// [N, H, W, C] -> [N, 1, 1, C]
struct GlobalAvgPool2d final : Module {
  Tensor forward(const Tensor& x) override { return global_avg_pool2d(x); }
  std::string describe() const override { return "GlobalAvgPool2d"; }
};

/// [N, H, W, C] -> [N, C H W]
struct Flatten final : Module {
  Tensor forward(const Tensor& x) override { return flatten(x); }
  std::string describe() const override { return "Flatten"; }
};

struct ChannelShuffle final : Module {
  explicit ChannelShuffle(int group_count);
  Tensor forward(const Tensor& x) override { return channel_shuffle(x, groups); }
  std::string describe() const override;
  int groups;
};

/// Identity in eval mode. nn::init seeds its generator.
struct Dropout final : Module {
  explicit Dropout(float probability);
  Tensor forward(const Tensor& x) override { return training ? dropout(x, p, rng) : x; }
  void visit(Visitor& v) override { v("rng", rng); }
  std::string describe() const override;

  float p;
  Rng rng;
};

/// Children named "0", "1", ... applied in order.
struct Sequential final : Module {
  Sequential() = default;
  explicit Sequential(std::vector<Layer> steps) : layers(std::move(steps)) {}
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& v) override;
  std::string describe() const override;

  std::vector<Layer> layers;
};

}  // namespace pare::nn
