#include "quant/grid.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace pare::quant {

namespace {

float power_of_two(int bits) {
  PARE_CHECK(bits >= 1 && bits <= 16, "quant: a grid has 1 to 16 bits, got ", bits);
  return static_cast<float>(1 << bits);
}

}  // namespace

Grid Grid::with_sign(int bits, bool narrow) {
  const float half = power_of_two(bits) / 2;
  return {bits, narrow ? 1 - half : -half, half - 1};
}

Grid Grid::without_sign(int bits) { return {bits, 0, power_of_two(bits) - 1}; }

ScaleZero fit(Interval range, const Grid& grid, bool affine) {
  const float min = std::min(range.min, 0.0f), max = std::max(range.max, 0.0f);
  const float steps = grid.hi - grid.lo;
  if (affine) {
    const float scale = std::max((max - min) / steps, kSmallestScale);
    return {scale, std::nearbyint(-min / scale) + grid.lo};
  }
  const float scale = grid.is_signed() ? 2 * std::max(-min, max) / steps : max / grid.hi;
  return {std::max(scale, kSmallestScale), 0};
}

}  // namespace pare::quant
