#pragma once
// What every quantizer is: a Transform for the sockets of Conv2d and Linear that knows its bits,
// can be calibrated, and can be switched off.

#include <memory>

#include "nn/codes.h"
#include "nn/describe.h"
#include "nn/module.h"

namespace pare::quant {

struct Quantizer : nn::Module, nn::StoredBits, nn::Coded {
  /// What forward() does: its work; pass x on and look at it; pass x on.
  enum class Mode : uint8_t { quantize, observe, off };
  Mode mode = Mode::quantize;
  /// Ranges stay as they are, also in training.
  bool frozen = false;

  Tensor forward(const Tensor& x) final {
    if (mode == Mode::quantize) return quantize(x);
    if (mode == Mode::observe) observe(x);
    return x;
  }

  /// Bits per value.
  virtual int bits() const = 0;
  /// Float32 scales that are stored along with a weight (per filter, per layer or none).
  virtual int64_t scales(const Tensor& /*weight*/) const { return 0; }
  int64_t stored_bits(const Tensor& weight) const override {
    return weight.numel() * bits() + 32 * scales(weight);
  }

  nn::Codes codes_for(const Tensor& /*y*/) const override {
    throw Error(describe() + " does not say which integers stand for its values");
  }

  /// Whether ranges come from data: until then they are a guess.
  virtual bool wants_calibration() const { return false; }
  /// One batch of the data to come.
  virtual void observe(const Tensor& /*x*/) {}
  /// Sets what is learned or fixed from all that was observed.
  virtual void settle() {}

 protected:
  virtual Tensor quantize(const Tensor& x) = 0;
};

}  // namespace pare::quant
