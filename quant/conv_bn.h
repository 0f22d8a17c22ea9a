#pragma once
// Training with batch norm folded into the convolution, so that what is quantized in training is
// what will be deployed.    Jacob et al. 2018, arXiv:1712.05877, section 3.2

#include <string>
#include <vector>

#include "nn/conv2d.h"
#include "nn/layers.h"

namespace pare::quant {

enum class BnFusion {
  batch,     // the weight is folded with the statistics of the batch
  corrected  // with the running ones, and the output is brought back to the batch's: quantized
             // weights do not jitter from batch to batch.  Krishnamoorthi 2018, arXiv:1806.08342
};

/// training:  y0 = conv(x, w) + b in float,  m, v = its mean and (biased) variance,
///            r = running variance, after this batch
///   batch      f = gamma / sqrt(v + eps),  y = conv(input_fn(x), weight_fn(f w)) + c
///   corrected  f = gamma / sqrt(r + eps),
///              y = conv(input_fn(x), weight_fn(f w)) sqrt(r + eps) / sqrt(v + eps) + c
///   c = beta + (b - m) gamma / sqrt(v + eps);  gradients flow through m and v
/// else: f and c from the running statistics, y = conv(input_fn(x), weight_fn(f w)) + c
struct ConvBn final : nn::Module {
  ConvBn(nn::Conv2d conv, nn::BatchNorm2d norm, BnFusion fusion);
  Tensor forward(const Tensor& x) override;
  void visit(nn::Visitor& v) override { v("conv", conv)("norm", norm); }
  std::string describe() const override;

  /// f w with running statistics: what weight_fn will see.
  Tensor folded_weight() const;
  /// c with running statistics.
  Tensor folded_bias() const;

  nn::Layer conv, norm;  // an nn::Conv2d with its sockets, an nn::BatchNorm2d
  BnFusion fusion;
  bool frozen = false;  // training, too, takes the running statistics

 private:
  Tensor fused(const Tensor& x);
};

/// Makes a ConvBn of every convolution that only a batch norm reads; both are found by tracing the
/// model with `example`. The place of the batch norm is empty then. Returns the paths.
std::vector<std::string> fuse_bn(nn::Layer& model, const Tensor& example, BnFusion fusion);

/// Makes plain convolutions of every ConvBn, folded with the running statistics: the same values in
/// eval mode.
void settle_bn(nn::Layer& model);

/// Batch norm, inside of a ConvBn or not, keeps its running statistics and uses them, also while
/// training.
void freeze_norms(nn::Layer& model);

}  // namespace pare::quant
