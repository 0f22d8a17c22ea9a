#pragma once
// What a quantizer makes of values, as integers: what integer kernels, file formats and exports
// need to know of it, and all that they know.

#include <cstdint>
#include <vector>

#include "core/ops.h"

namespace pare::nn {

/// uniform  code = clamp(round(input_scale x / scale) + zero, lo, hi)
/// binary   code = x >= 0 ? 1 : -1
/// ternary  code = |x| > threshold ? sign(x) : 0
/// All:     y = scale (code - zero)
/// A weight may get its codes in another way (tanh, learned rounding, centring); integers() finds
/// them from y.
struct Codes {
  enum class Kind : uint8_t { uniform, binary, ternary };
  Kind kind = Kind::uniform;
  int bits = 8;
  float lo = 0, hi = 255;  // smallest and largest code
  int spacing = 1;         // codes are lo, lo + spacing, ... hi
  /// Who has a scale of its own: nobody, filters (first axis) or channels (last axis).
  QuantShare share = QuantShare::tensor;
  std::vector<float> scale = {1};  // one for each; 0: all values are 0, whatever the code
  std::vector<float> zero = {0};   // as many; whole numbers, and not always within lo .. hi
  Rounding rounding = Rounding::half_even;
  bool shift_first = false;  // round(x / scale + zero)
  float input_scale = 1;     // of activations: their y is input_scale times as large as x
  float threshold = 0;       // of ternary activations

  bool is_signed() const { return lo < 0; }
};

/// Implemented by quantizers.
struct Coded {
  virtual ~Coded() = default;
  /// What it does to values as it is now. For one in front of a weight, `y` is what it makes of
  /// that weight in eval mode; otherwise `y` may be empty.
  virtual Codes codes_for(const Tensor& y) const = 0;
};

/// The code of every element of y, in its order: y / scale + zero.
std::vector<int32_t> integers(const Codes& codes, const Tensor& y);

}  // namespace pare::nn
