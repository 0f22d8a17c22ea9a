#pragma once
// What every quantizer is: a Transform for the sockets of Conv2d and Linear that knows its bits.

#include <memory>

#include "nn/describe.h"
#include "nn/module.h"

namespace pare::quant {

struct Quantizer : nn::Module, nn::StoredBits {
  /// Bits per value.
  virtual int bits() const = 0;
  /// Float32 scales that are stored along with a weight (per filter, per layer or none).
  virtual int64_t scales(const Tensor& /*weight*/) const { return 0; }
  int64_t stored_bits(const Tensor& weight) const override {
    return weight.numel() * bits() + 32 * scales(weight);
  }
};

}  // namespace pare::quant
