#pragma once
// Deferred pointwise work: how passes over memory are saved without spelling fusion in a model.
//
// An op such as batch_norm may return a tensor whose values are still to be computed. The next op
// asks the pending work to absorb it: relu(batch_norm(x)) becomes one pass over x. Absorbing makes
// a NEW tensor with its own node on the tape, from the source x; the tensor before it stays valid
// and is computed if anybody reads it. So nothing about the graph changes, only how often memory is
// walked.

#include "core/kernels/pointwise.h"
#include "core/tensor.h"

namespace pare {

struct Deferred {
  virtual ~Deferred() = default;
  /// Computes the values into y (numel of the tensor). Called once.
  virtual void run(float* y) const = 0;
  /// f(this) as one pass; empty if this work cannot absorb it.
  virtual Tensor then(const Pointwise&) const { return {}; }
  /// this + residual as one pass; empty if this work cannot absorb it.
  virtual Tensor plus(const Tensor&) const { return {}; }
};

/// Off: every op computes at once. The reference that fused results are tested against. Default:
/// on, unless the environment says PARE_FUSION=0.
bool fusion_enabled();
void set_fusion(bool on);

}  // namespace pare
