#include "deploy/onnx/activation_grid.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace pare::onnx {

namespace {

constexpr int64_t kByteMax = 255, kWordMax = 65535, kSignedMax = 127;

/// Signed bytes, zero point 0. Codes that are not so already get the scale of their largest
/// magnitude.
ActivationGrid symmetric_grid(const nn::Codes& c) {
  ActivationGrid g{.type = Type::int8, .lo = -128, .hi = kSignedMax, .bits = c.bits};
  const auto lo = static_cast<int64_t>(c.lo), hi = static_cast<int64_t>(c.hi);
  const bool as_is = lo >= -128 && hi <= kSignedMax &&
                     std::all_of(c.zero.begin(), c.zero.end(), [](float z) { return z == 0; });
  if (as_is && hi < kSignedMax) g.lo = lo, g.hi = hi;
  for (size_t k = 0; k < c.scale.size(); ++k) {
    const float largest = std::max(std::fabs(c.lo - c.zero[k]), std::fabs(c.hi - c.zero[k]));
    const float factor = as_is ? 1.0f : largest / static_cast<float>(kSignedMax);
    g.step.push_back(c.scale[k] / c.input_scale * factor);
    g.scale.push_back(c.scale[k] * factor);
    g.zero.push_back(0);
  }
  return g;
}

}  // namespace

bool ActivationGrid::fills_type() const {
  switch (type) {
    case Type::uint8:
      return lo <= 0 && hi >= kByteMax;
    case Type::int8:
      return lo <= -128 && hi >= kSignedMax;
    default:
      return lo <= 0 && hi >= kWordMax;
  }
}

ActivationGrid grid_of(const nn::Codes& c, const ValueRange& range, const ExportOptions& options,
                       const std::string& where) {
  if (options.symmetric) return symmetric_grid(c);
  const bool above_zero = range.nonnegative && c.zero.size() == 1 && c.zero[0] <= c.hi;
  const float shift = above_zero ? c.zero[0] : c.lo;
  ActivationGrid g{.lo = static_cast<int64_t>(std::max(c.lo - shift, 0.0f)),
                   .hi = static_cast<int64_t>(c.hi - shift),
                   .bits = c.bits};
  if (g.hi > kByteMax) g.type = Type::uint16;
  PARE_CHECK(g.hi <= kByteMax || options.opset >= 21, "onnx: ", where, " has ", c.bits,
             " bits, and activations of more than 8 need opset 21");
  const int64_t largest = g.type == Type::uint8 ? kByteMax : kWordMax;
  for (size_t k = 0; k < c.scale.size(); ++k) {
    const float zero = c.zero[k] - shift;
    PARE_CHECK(zero >= 0 && zero <= static_cast<float>(largest), "onnx: the zero point of ", where,
               ", ", c.zero[k], ", lies outside of its codes ", c.lo, " to ", c.hi,
               hint("its range does not contain 0: calibrate it with scheme=symmetric"));
    g.step.push_back(c.scale[k] / c.input_scale);
    g.scale.push_back(c.scale[k]);
    g.zero.push_back(static_cast<int64_t>(zero));
  }
  // Clipping before rounding is clipping after it: round(min(x, u) / s) = min(round(x / s), round(u
  // / s)).
  if (g.per_tensor() && std::isfinite(range.upper)) {
    const float top = std::nearbyint(range.upper / g.step[0]);
    if (top < static_cast<float>(g.hi - g.zero[0])) g.hi = static_cast<int64_t>(top) + g.zero[0];
  }
  return g;
}

ActivationGrid grid_of_range(float min, float max, const ExportOptions& options) {
  min = std::min(min, 0.0f), max = std::max(max, 0.0f);
  ActivationGrid g;
  float scale = (max - min) / static_cast<float>(kByteMax);
  if (options.symmetric) {
    g.type = Type::int8, g.lo = -128, g.hi = kSignedMax;
    scale = std::max(-min, max) / static_cast<float>(kSignedMax);
  }
  if (!(scale > 1e-12f)) scale = 1;  // all zeros
  g.step = g.scale = {scale};
  g.zero = {options.symmetric ? 0 : static_cast<int64_t>(std::nearbyint(-min / scale))};
  return g;
}

}  // namespace pare::onnx
