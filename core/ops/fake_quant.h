#pragma once
// Fake quantization with one scale, as a step that other ops' passes can take in. Private to
// core/ops.

#include "core/kernels/fake_quant.h"
#include "core/ops.h"

namespace pare {

/// A quantizer's numbers, and how sums become gradients.
struct QuantRule {
  FakeQuant q;
  float sign = 1;        // of the scale as it was given: it is used by magnitude
  float grad_scale = 1;  // g of the formulas
  bool clip = false;

  float scale_grad(const kernels::FakeQuantSums& s) const;
  float zero_grad(const kernels::FakeQuantSums& s) const;
};

/// The rule, and what it was made from, with history.
struct QuantStep {
  QuantRule rule;
  Tensor scale, zero;  // [1]; zero may be empty
};

inline void add(kernels::FakeQuantSums& sums, const kernels::FakeQuantSums& part) {
  sums = {sums.inside + part.inside, sums.below + part.below, sums.above + part.above};
}

}  // namespace pare
