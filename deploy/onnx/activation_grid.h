#pragma once
// The codes of an activation as a file has them.

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "deploy/onnx/export.h"
#include "nn/codes.h"

namespace pare::onnx {

/// q = clip(round(x / step) + zero, lo, hi),   y = scale (q - zero)
struct ActivationGrid {
  Type type = Type::uint8;
  std::vector<float> step = {}, scale = {};  // one, or one per channel
  std::vector<int64_t> zero = {};
  int64_t lo = 0, hi = 255;
  int bits = 8;

  bool per_tensor() const { return step.size() == 1; }
  /// Whether the type alone keeps codes within lo .. hi.
  bool fills_type() const;
  bool operator==(const ActivationGrid&) const = default;
};

/// What is known of values beforehand.
struct ValueRange {
  bool nonnegative = false;
  float upper = std::numeric_limits<float>::infinity();
};

/// The same values in bytes without a sign, codes moved by a whole number: runtimes fuse where a
/// layer's input and result have the same type, and drop a ReLU in front of codes that start at its
/// zero point. Symmetric: in signed bytes with zero point 0, at a coarser scale where need be.
/// Binary and ternary codes come as they are.
ActivationGrid grid_of(const nn::Codes& codes, const ValueRange& range,
                       const ExportOptions& options, const std::string& where);
/// 8 bits for values from min to max.
ActivationGrid grid_of_range(float min, float max, const ExportOptions& options);

}  // namespace pare::onnx
