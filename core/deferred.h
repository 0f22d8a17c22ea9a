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

#include <initializer_list>
#include <optional>
#include <type_traits>

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
/// Memory of the shape of what is shown in blocks, of which a visitor reads the same rows: whoever
/// computes a block may fetch them meanwhile.
class Beside {
 public:
  Beside() = default;
  Beside(std::initializer_list<const float*> all) {
    for (const float* each : all) add(each);
  }
  /// Nothing if null.
  void add(const float* values) {
    if (values && count_ < kMost) each_[count_++] = values;
  }
  const float* const* begin() const { return each_; }
  const float* const* end() const { return each_ + count_; }

 private:
  static constexpr int kMost = 4;
  const float* each_[kMost] = {};
  int count_ = 0;
};

/// Called from several threads at once.
class BlockVisitor {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, BlockVisitor>)
      BlockVisitor(F&& f, const Beside& reads = {})  // NOLINT: implicit on purpose
      : f_(f), reads_(reads) {}
  void operator()(const Block& b) const { f_(b); }
  const Beside& reads() const { return reads_; }

 private:
  FunctionRef<void(const Block&)> f_;
  Beside reads_;
};

struct QuantStep;  // core/ops/fake_quant.h

struct Deferred {
  virtual ~Deferred() = default;
  /// Computes the values into y (numel of the tensor).
  virtual void run(float* y) const = 0;
  /// How many blocks the result comes in, by shape alone; 0: it is not shown in blocks.
  virtual int64_t blocks() const { return 0; }
  /// Likewise, and shows every block as soon as it is finished. Only if blocks() > 0.
  virtual void run(float* y, BlockVisitor visit) const;
  /// Whether run_rows() computes rows one by one, in any order: for who walks over them anyway.
  virtual bool by_rows() const { return false; }
  /// Rows [first, first + rows) of y. Called from several threads at once.
  virtual void run_rows(float* y, int64_t first, int64_t rows) const;
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

/// A tensor for who must not keep its values: unique() does not count it.
class WeakTensor {
 public:
  explicit WeakTensor(const Tensor& t);
  /// Computes it, if it is still there and pending.
  void compute() const;

 private:
  std::weak_ptr<void> storage_;
};

/// The values of t for a pass that walks over all rows and says which ones it comes to: pending
/// work that can is then done row by row, and what was computed is still in cache.
class RowWalk {
 public:
  /// Every row must be come to, once, before anybody else reads t.
  explicit RowWalk(const Tensor& t);
  const float* data() const { return y_; }
  void come_to(int64_t first, int64_t rows) const {
    if (work_) work_->run_rows(y_, first, rows);
  }

 private:
  std::shared_ptr<const Deferred> work_;  // null: all is there
  float* y_;
};

/// Off: every op computes at once. The reference that fused results are tested against. Default:
/// on, unless the environment says PARE_FUSION=0.
bool fusion_enabled();
void set_fusion(bool on);

}  // namespace pare
