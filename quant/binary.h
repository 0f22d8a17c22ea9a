#pragma once
// Binary weights and activations.
//   XNOR-Net, Rastegari et al. 2016, arXiv:1603.05279; BinaryNet, Courbariaux et al. 2016,
//   arXiv:1602.02830

#include "core/ops.h"
#include "quant/quantizer.h"

namespace pare::quant {

struct BinaryWeightOptions {
  bool center = true;  // subtract the mean over the input channels, per filter and kernel place
  bool clamp = true;   // then limit to [-1, 1]
  bool alpha = true;   // scale each filter by its mean magnitude; else the weights are +1 and -1
  /// true: center and clamp change the stored weight at every training forward, unseen by the
  /// gradient, as in XNOR-Net's own code and micronet: the optimizer always starts from centred
  /// weights within [-1, 1]. Frozen or computed weights, and all in eval mode, stay as they are.
  /// false: they are part of the function, with their true gradient.
  bool in_place = true;
};

/// v = clamp(w - mean_in(w), -1, 1)
/// y = alpha sign(v),  alpha = mean |v| of the filter,  sign(0) = +1
/// dv_i = alpha dy_i + sign(v_i) / n sum_j dy_j sign(v_j)     (sign passes straight through)
/// A weight with one input channel per group is its own mean, and is not centred.
struct BinaryWeight final : Quantizer {
  explicit BinaryWeight(const BinaryWeightOptions& options = {}) : opt(options) {}
  Tensor quantize(const Tensor& w) override;
  std::string describe() const override;
  int bits() const override { return 1; }
  int64_t scales(const Tensor& w) const override { return opt.alpha ? w.dim(0) : 0; }
  nn::Codes codes_for(const Tensor& y) const override;

  BinaryWeightOptions opt;
};

/// The last two lines of the formula: y and its gradient to w, taken at the values v (w's own if it
/// is prepared).
Tensor binarize(const Tensor& w, const Tensor& v, bool alpha);

/// y = sign(x), sign(0) = +1;  dx by the chosen rule (core/kernels/pointwise.h).
struct BinaryActivation final : Quantizer {
  explicit BinaryActivation(Ste rule = Ste::clip) : ste(rule) {}
  Tensor quantize(const Tensor& x) override { return sign(x, ste); }
  std::string describe() const override;
  int bits() const override { return 1; }
  nn::Codes codes_for(const Tensor&) const override;

  Ste ste;
};

/// "identity", "clip", "triangle", "poly"
const char* ste_name(Ste ste);

// Options that binary and ternary quantizers share.
struct Option;
struct QuantizerSpec;
Option switch_option(const std::string& name, const std::string& help);
Option ste_option();
Ste ste_of(const QuantizerSpec& spec);

}  // namespace pare::quant
