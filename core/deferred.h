#pragma once
// Deferred work: how passes over memory are saved without spelling fusion in a model.
//
// An op such as conv2d or batch_norm may return a tensor whose values are still to be computed. The
// next op asks the pending work to absorb it, relu(batch_norm(x)) becomes one pass over x; or to
// show its result block by block while it is in cache, batch_norm(conv2d(x)) takes its sums from
// these; or computes the values itself while it copies its input, conv2d(relu(batch_norm(x))).
// Absorbing makes a NEW tensor with its own node on the tape, from the source x; the tensor before
// it stays valid and is computed if anybody reads it. So nothing about the graph changes, only how
// often memory is walked.

#include <optional>

#include "core/kernels/bounds.h"
#include "core/kernels/pointwise.h"
#include "core/kernels/source.h"
#include "core/parallel.h"
#include "core/tensor.h"

namespace pare {

/// Finished rows [first, first + rows) of a result seen as [rows, channels]. Whoever is shown them
/// may change them.
struct Block {
  int64_t index, first, rows;
  float* values;
};
/// Called from several threads at once.
using BlockVisitor = FunctionRef<void(const Block&)>;

struct QuantStep;  // core/ops/fake_quant.h

struct Deferred {
  virtual ~Deferred() = default;
  /// Computes the values into y (numel of the tensor).
  virtual void run(float* y) const = 0;
  /// How many blocks the result comes in, by shape alone; 0: it is not shown in blocks.
  virtual int64_t blocks() const { return 0; }
  /// Likewise, and shows every block as soon as it is finished. Only if blocks() > 0.
  virtual void run(float* y, BlockVisitor visit) const;
  /// The smallest and the greatest value, if they are known before anything is computed.
  virtual std::optional<kernels::Bounds> bounds() const { return {}; }
  /// f(this) as one pass; empty if this work cannot absorb it.
  virtual Tensor then(const Pointwise&) const { return {}; }
  /// this + residual as one pass; empty if this work cannot absorb it.
  virtual Tensor plus(const Tensor&) const { return {}; }
  /// This, quantized, as one pass; empty if this work cannot absorb it.
  virtual Tensor quantized(const QuantStep&) const { return {}; }
  /// The values as a source for a pass that copies its input anyway; none: better in memory.
  virtual std::optional<kernels::Source> source() const { return {}; }

  Shape shape;  // of the tensor it was made for
};

/// What a copying pass reads. Keep t.pending() alive while the source is in use.
kernels::Source source_of(const Tensor& t);

/// Blocks in which settle() shows t; 0 if t has no pending work, or none that comes in blocks.
int64_t pending_blocks(const Tensor& t);
/// Computes t, showing every block.
void settle(const Tensor& t, BlockVisitor visit);

/// Off: every op computes at once. The reference that fused results are tested against. Default:
/// on, unless the environment says PARE_FUSION=0.
bool fusion_enabled();
void set_fusion(bool on);

}  // namespace pare
