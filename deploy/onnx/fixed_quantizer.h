#pragma once
// A quantizer as a file describes it: nothing about it is learned.

#include "nn/codes.h"
#include "nn/describe.h"
#include "nn/module.h"

namespace pare::onnx {

/// y = scale (clamp(round(input_scale x / scale) + zero, lo, hi) - zero), gradients as in
/// fake_quant; or signs, as nn::Codes says, of activations.
struct FixedQuantizer final : nn::Module, nn::Coded, nn::StoredBits {
  explicit FixedQuantizer(const nn::Codes& codes);
  Tensor forward(const Tensor& x) override;
  void visit(nn::Visitor& v) override { v.buffer("scale", scale).buffer("zero", zero); }
  std::string describe() const override;
  nn::Codes codes_for(const Tensor& y) const override;
  int64_t stored_bits(const Tensor& weight) const override {
    return weight.numel() * form.bits + 32 * scale.numel();
  }

  nn::Codes form;      // but for the values of scale and zero, which are
  Tensor scale, zero;  // [1], [filters] or [channels]
};

}  // namespace pare::onnx
