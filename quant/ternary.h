#pragma once
// Ternary weights and activations.    Ternary Weight Networks, Li et al. 2016, arXiv:1605.04711

#include "core/ops.h"
#include "quant/quantizer.h"

namespace pare::quant {

struct TernaryWeightOptions {
  float threshold = 0.7f;  // of the mean magnitude
  bool alpha = true;       // scale by the mean magnitude of the weights kept; else -1, 0, +1
  bool per_layer = false;  // threshold and scale of the layer (the paper's), or of each filter
  /// In (0, 1): a weight between gap * delta and delta keeps the value of the last training step,
  /// if it still has that sign, and does not jitter around the threshold. 0: no such zone.
  float gap = 0.0f;
};

/// delta = threshold mean |w|
/// t_i = sign(w_i) where |w_i| > delta, else 0;  alpha = mean of |w_i| over the n with t_i != 0
/// y = alpha t
/// dw_i = alpha dy_i + t_i / n sum_j dy_j t_j                 (t passes straight through)
/// A filter of zeros has no t_i != 0: y = 0 and dw = dy, so that it can come to life.
struct TernaryWeight final : Quantizer {
  /// `weight` is the shape it will be used on: the memory of the gap exists from the start.
  TernaryWeight(const TernaryWeightOptions& options, const Shape& weight);
  /// Without a gap there is nothing to remember, and any shape will do.
  explicit TernaryWeight(const TernaryWeightOptions& options = {});
  Tensor quantize(const Tensor& w) override;
  void visit(nn::Visitor& v) override {
    if (last) v.buffer("last", last);
  }
  std::string describe() const override;
  int bits() const override { return 2; }
  int64_t scales(const Tensor& w) const override {
    return !opt.alpha ? 0 : opt.per_layer ? 1 : w.dim(0);
  }
  nn::Codes codes_for(const Tensor& y) const override;

  TernaryWeightOptions opt;
  Tensor last;  // the ternary values of the last training forward; empty without a gap
};

/// c = clip(x, -1, 1);  y = sign(c) 1[|c| > threshold];  dx by the chosen rule
/// (core/kernels/pointwise.h). Our own proposal: the systems that promise ternary activations have
/// no code for them.
struct TernaryActivation final : Quantizer {
  explicit TernaryActivation(Ste rule = Ste::clip, float delta = 0.5f);
  Tensor quantize(const Tensor& x) override;
  std::string describe() const override;
  int bits() const override { return 2; }
  nn::Codes codes_for(const Tensor&) const override;

  Ste ste;
  float threshold;
};

}  // namespace pare::quant
