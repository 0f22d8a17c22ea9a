#pragma once
// DoReFa-Net weights and activations of 1 to 16 bits.    Zhou et al. 2016, arXiv:1606.06160

#include "core/ops.h"
#include "quant/quantizer.h"

namespace pare::quant {

/// Two ways to write the same method.
///   paper       halves round to even; activations are clipped as they are
///   micronet    halves round away from zero; activations are multiplied by 0.1 first and stay
///               small, which a batch norm behind the layer undoes
enum class DorefaForm : uint8_t { paper, micronet };

/// q(u) = round((2^k - 1) u) / (2^k - 1),  dq = du
/// k > 1:  t = tanh(w),  m = max |t| over the layer,  u = t / 2m + 1/2,  y = 2 q(u) - 1
///         dt_i = dy_i / m - 1[i = argmax |t|] sign(t_i) / m^2 sum_j dy_j t_j
///         dw = dt (1 - t^2)
/// k = 1:  y = sign(w) E,  E = mean |w| over the layer, a constant for the gradient;   dw = dy
struct DorefaWeight final : Quantizer {
  explicit DorefaWeight(int bits, DorefaForm form = DorefaForm::paper);
  Tensor quantize(const Tensor& w) override;
  std::string describe() const override;
  int bits() const override { return bits_; }
  /// The levels are fixed fractions but for k = 1, which stores E.
  int64_t scales(const Tensor&) const override { return bits_ == 1 ? 1 : 0; }
  nn::Codes codes_for(const Tensor& y) const override;
  DorefaForm form() const { return form_; }

 private:
  int bits_;
  DorefaForm form_;
};

/// y = q(clamp(s x, 0, 1)),   dx = s dy 1[0 <= s x <= 1]
struct DorefaActivation final : Quantizer {
  /// s is 1 in the paper's form and 0.1 in micronet's, unless `prescale` > 0 says otherwise.
  explicit DorefaActivation(int bits, DorefaForm form = DorefaForm::paper, float prescale = 0.0f);
  Tensor quantize(const Tensor& x) override { return pointwise(f_, x); }
  std::string describe() const override;
  int bits() const override { return bits_; }
  nn::Codes codes_for(const Tensor&) const override;
  float prescale() const { return f_.a; }

 private:
  int bits_;
  DorefaForm form_;
  Pointwise f_;
};

}  // namespace pare::quant
