#include "deploy/onnx/fixed_quantizer.h"

#include "core/error.h"

namespace pare::onnx {

namespace {

Tensor vector(const std::vector<float>& values) {
  return Tensor::of(values, {static_cast<int64_t>(values.size())});
}

}  // namespace

FixedQuantizer::FixedQuantizer(const nn::Codes& codes)
    : form(codes), scale(vector(codes.scale)), zero(vector(codes.zero)) {}

Tensor FixedQuantizer::forward(const Tensor& x) {
  if (form.kind == nn::Codes::Kind::binary) return sign(x);
  if (form.kind == nn::Codes::Kind::ternary) {  // sign(0) is +1: x > t is where t - x has sign -1
    return (sign(x + form.threshold) - sign(form.threshold - x)) * 0.5f;
  }
  return fake_quant(form.input_scale == 1 ? x : x * form.input_scale, scale, zero,
                    {.lo = form.lo, .hi = form.hi, .share = form.share});
}

std::string FixedQuantizer::describe() const {
  return str("FixedQuantizer(", form.bits, " bits, codes ", form.lo, " to ", form.hi, ")");
}

nn::Codes FixedQuantizer::codes_for(const Tensor&) const {
  nn::Codes c = form;
  c.scale.assign(scale.data(), scale.data() + scale.numel());
  c.zero.assign(zero.data(), zero.data() + zero.numel());
  return c;
}

}  // namespace pare::onnx
