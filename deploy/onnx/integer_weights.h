#pragma once
// Weights as a file has them: numbers, or integers with a scale and a zero point for each filter.

#include <optional>
#include <vector>

#include "deploy/onnx/facts.h"
#include "deploy/onnx/model.h"

namespace pare::onnx {

/// value = scale (code - zero), by filter.
struct IntegerWeight {
  Type type = Type::int8;
  std::vector<float> codes = {};  // in the order of memory
  std::vector<float> scale = {};
  std::vector<int64_t> zero = {};
  int bits = 8;
};

/// A convolution or linear layer with its batch norm folded in.
struct LayerWeights {
  Tensor weight;                 // [out, ...]
  std::vector<float> bias = {};  // [out], or empty
  std::optional<IntegerWeight> integers = {};
  std::string why_float = {};  // a quantized weight that no file can hold as integers
};

struct WeightOptions {
  bool integers = false, symmetric = false, int4 = false;
};
LayerWeights layer_weights(const nn::TracedValues& traced, const Facts& facts, int layer,
                           const WeightOptions& options);

/// Scales so large that every bias, in steps of input_scale * scale, is an int32 (with room for
/// what is added to it). Codes of a filter whose scale grows are rounded anew.
void make_room_for_bias(IntegerWeight& w, const std::vector<float>& bias, float input_scale);

}  // namespace pare::onnx
