#pragma once
// AdaRound: weights that learn whether to round up or down.    Nagel et al. 2020, arXiv:2004.10568

#include "quant/grid_quantizer.h"

namespace pare::quant {

/// h(v) = clip(1.2 sigma(v) - 0.1, 0, 1)
/// while training  y = s (clamp(floor(w / s) + h(v) + z, lo, hi) - z)
/// else            y = s (clamp(floor(w / s) + 1[v >= 0] + z, lo, hi) - z)
/// dw = dy 1[inside],   dv = s dy h'(v) 1[inside],   inside: lo <= code <= hi before the clamp
/// Calibration chooses s and z, and v such that h(v) is the fraction w / s - floor(w / s): as soft
/// as the float weight.
struct AdaRound final : GridQuantizer {
  AdaRound(const QuantizerSpec& spec, const Site& site);
  void visit(nn::Visitor& v) override;
  void observe(const Tensor& w) override;
  std::vector<ScaleZero> parameters() const override;

  /// sum (1 - |2 h(v) - 1|^beta): 0 when every h is 0 or 1.
  Tensor indecision(float beta) const;
  /// y as it will be stored.
  Tensor hard(const Tensor& w) const;

  Tensor round;        // v, of the weight's shape
  Tensor scale, zero;  // [groups]; zero is empty unless affine

 protected:
  void set_ranges(const Observer& observer) override;
  Tensor apply(const Tensor& w) override;

 private:
  Tensor soft_up() const;  // h(v)
  Tensor assemble(const Tensor& w, const Tensor& up) const;

  Tensor observed_;  // the weight, while calibrating
};

}  // namespace pare::quant
