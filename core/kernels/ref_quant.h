#pragma once
// The definition of the quantization kernels in plain loops.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/kernels/fake_quant.h"
#include "core/kernels/ref.h"

namespace pare::ref {

inline float quant_code(const FakeQuant& q, float t) {
  return q.shift_first ? round_by(q.rounding, t + q.zero) : round_by(q.rounding, t) + q.zero;
}

inline float fake_quant(const FakeQuant& q, float x) {
  return (clamp(quant_code(q, x / q.scale), q.lo, q.hi) - q.zero) * q.scale;
}

/// dx, adding to the sums.
inline float fake_quant_grad(const FakeQuant& q, float x, float dy, kernels::FakeQuantSums& sums) {
  const float t = x / q.scale, u = quant_code(q, t);
  if (u < q.lo || x < q.min) return sums.below += dy, 0.0f;
  if (u > q.hi || x > q.max) return sums.above += dy, 0.0f;
  sums.inside += double{dy} * (double{u} - q.zero - t);
  return dy;
}

}  // namespace pare::ref
