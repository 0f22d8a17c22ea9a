#pragma once
// Uniform grids: which integers codes are, and the scale and zero point that a range of values asks
// for.

#include <cstdint>

namespace pare::quant {

/// Codes lo .. hi of so many bits.
struct Grid {
  int bits = 8;
  float lo = -128, hi = 127;

  /// -2^(b-1) .. 2^(b-1) - 1; narrow: -(2^(b-1) - 1) .. 2^(b-1) - 1
  static Grid with_sign(int bits, bool narrow = false);
  /// 0 .. 2^b - 1
  static Grid without_sign(int bits);
  bool is_signed() const { return lo < 0; }
  bool operator==(const Grid&) const = default;
};

/// How codes stand for values.
///   symmetric  codes with a sign, z = 0
///   affine     codes without a sign, and a zero point
///   unsigned   codes without a sign, z = 0: nothing negative can be said
///   automatic  unsigned if calibration saw nothing negative, else symmetric
enum class Coding : uint8_t { symmetric, affine, positive, automatic };

/// From the smallest value to the largest.
struct Interval {
  float min = 0, max = 0;
};

struct ScaleZero {
  float scale = 1, zero = 0;
};

/// The scale is never smaller: what is constant, or zero, gives numbers.
inline constexpr float kSmallestScale = 1e-6f;

/// The range, widened to contain 0, on the grid:
///   affine  s = (max - min) / (hi - lo),   z = round(-min / s) + lo
///   else    s = absmax / ((hi - lo) / 2) on codes with a sign, max / hi without;   z = 0
ScaleZero fit(Interval range, const Grid& grid, bool affine);

}  // namespace pare::quant
