#pragma once
// The activation scale K of XNOR-Net (Rastegari et al. 2016, arXiv:1603.05279, section 3.2).
//
// It multiplies the output of a layer and is computed from its input, so it fits neither socket: a
// small module around the layer holds both.

#include "nn/conv2d.h"
#include "nn/linear.h"

namespace pare::quant {

/// y = conv(x) K + bias,  K = A * k:  A is |x| averaged over the channels of a group, and k the
/// kernel window whose elements are 1 / (kh kw): one scale per output position and group.
///   x [N, H, W, in],  A [N, H, W, groups],  K [N, OH, OW, groups]
/// conv holds the quantizers in its sockets; x is seen before its input_fn, and gradients flow
/// through K too.
struct XnorConv2d final : nn::Module {
  explicit XnorConv2d(nn::Conv2d layer);
  Tensor forward(const Tensor& x) override;
  void visit(nn::Visitor& v) override { v("conv", conv)("bias", bias); }
  std::string describe() const override { return "XnorConv2d"; }

  nn::Layer conv;  // without bias, which must not be scaled
  Tensor bias;     // [out] or empty
};

/// y = linear(x) K + bias,   K [N, 1] = mean over the features of |x|
struct XnorLinear final : nn::Module {
  explicit XnorLinear(nn::Linear layer);
  Tensor forward(const Tensor& x) override;
  void visit(nn::Visitor& v) override { v("linear", linear)("bias", bias); }
  std::string describe() const override { return "XnorLinear"; }

  nn::Layer linear;
  Tensor bias;
};

}  // namespace pare::quant
