#pragma once
// Weights as they will be stored, and thresholds in place of floats.

#include <functional>
#include <vector>

#include "deploy/lower_graph.h"

namespace pare::deploy {

/// A weight as whole numbers times a scale per filter, or as floats.
struct PackedWeight {
  runtime::Coding coding = runtime::Coding::f32;
  std::vector<int16_t> values = {};  // [filters][n], empty for floats
  std::vector<float> scale = {};     // [filters]
  int64_t filters = 0, n = 0;
  std::string why_float = {};  // of a weight with codes

  /// The bytes of a program; of floats from the tensor.
  runtime::Bytes bytes(const Tensor& weight) const;
};
PackedWeight pack(const Node& conv);

/// The smallest T with f(k) for all k >= T, |k| <= most; f is false and then true. INT32_MAX and
/// INT32_MIN where it is always false and always true.
int32_t threshold(int32_t most, const std::function<bool(int32_t)>& f);

}  // namespace pare::deploy
