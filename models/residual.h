#pragma once
// Residual blocks of He et al. 2015, arXiv:1512.03385: y = relu(f(x) + shortcut(x)).
// The ReLUs are children, so that a rewrite can replace or remove them.

#include "nn/layers.h"

namespace pare::models {

struct ConvBn {
  int64_t in, out;
  Hw kernel = 3, stride = 1;
};
/// A convolution without bias, padded to keep the size at stride 1.
nn::Layer conv(const ConvBn& c);
/// 1x1 convolution and batch norm, "0" and "1": the projection shortcut.
nn::Layer projection(int64_t in, int64_t out, int stride, float bn_momentum);

struct BlockOptions {
  int64_t in, width;  // width: of the 3x3 convolutions
  int stride = 1;
  nn::Layer shortcut;  // empty: the identity
  /// The field's name in state dicts: "shortcut" in CIFAR nets, "downsample" in torchvision's.
  const char* shortcut_name = "shortcut";
  float bn_momentum = 0.1f;
};

/// Two 3x3 convolutions.
struct BasicBlock final : nn::Module {
  explicit BasicBlock(BlockOptions options);
  Tensor forward(const Tensor& x) override;
  void visit(nn::Visitor& v) override {
    v("conv1", conv1)("bn1", bn1)("act1", act1)("conv2", conv2)("bn2", bn2);
    v(shortcut_name, shortcut)("act2", act2);
  }
  std::string describe() const override { return "BasicBlock"; }

  const char* shortcut_name;
  nn::Layer conv1, bn1, act1, conv2, bn2, shortcut, act2;
};

/// 1x1 down, 3x3 (with the stride, as torchvision does), 1x1 up to four times the width.
struct Bottleneck final : nn::Module {
  static constexpr int64_t kExpansion = 4;

  explicit Bottleneck(BlockOptions options);
  Tensor forward(const Tensor& x) override;
  void visit(nn::Visitor& v) override {
    v("conv1", conv1)("bn1", bn1)("act1", act1)("conv2", conv2)("bn2", bn2)("act2", act2);
    v("conv3", conv3)("bn3", bn3)(shortcut_name, shortcut)("act3", act3);
  }
  std::string describe() const override { return "Bottleneck"; }

  const char* shortcut_name;
  nn::Layer conv1, bn1, act1, conv2, bn2, act2, conv3, bn3, shortcut, act3;
};

/// Option A of the paper: every stride-th pixel, new channels zero, half of them on either side.
struct PadShortcut final : nn::Module {
  PadShortcut(int64_t in, int64_t out, int stride_);
  Tensor forward(const Tensor& x) override;
  std::string describe() const override;

  int stride;
  int64_t before, after;  // zero channels
};

}  // namespace pare::models
