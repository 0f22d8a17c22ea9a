#pragma once
// The one array type: float32, dense, row-major (images are [N, H, W, C]), a cheap shared handle.
// It carries its gradient history, and may carry work that is not done yet (see deferred.h). The
// first reader does that work: before several threads read a tensor, one calls its data().

#include <initializer_list>
#include <memory>
#include <ostream>
#include <span>
#include <vector>

#include "core/rng.h"
#include "core/shape.h"

namespace pare {

struct Deferred;
struct IntegerGrid;
struct Node;

class Tensor {
 public:
  /// Empty: stands for "no bias", "no gradient". `if (t)` tells.
  Tensor() = default;

  static Tensor uninit(const Shape& shape);
  static Tensor zeros(const Shape& shape) { return full(shape, 0.0f); }
  static Tensor ones(const Shape& shape) { return full(shape, 1.0f); }
  static Tensor full(const Shape& shape, float value);
  static Tensor scalar(float value) { return full({1}, value); }
  /// A vector; `.reshape()` makes it anything else.
  static Tensor of(std::initializer_list<float> values);
  static Tensor of(std::span<const float> values, const Shape& shape);
  /// Independent draws, the same for any number of threads.
  static Tensor uniform(const Shape& shape, Rng& rng, float lo = 0.0f, float hi = 1.0f);
  static Tensor normal(const Shape& shape, Rng& rng, float mean = 0.0f, float stddev = 1.0f);
  /// Values that are still to be computed by `work`, on first use, or before one of the tensors it
  /// reads is changed. At once if fusion is off.
  static Tensor deferred(const Shape& shape, std::shared_ptr<Deferred> work,
                         const std::vector<Tensor>& reads);
  /// Likewise, in the memory of `place`: the work finds the values of `place` there, and nobody
  /// else may want them.
  static Tensor deferred_in(const Tensor& place, std::shared_ptr<Deferred> work,
                            const std::vector<Tensor>& reads);

  explicit operator bool() const { return impl_ != nullptr; }
  const Shape& shape() const;
  int dims() const { return shape().dims(); }
  int64_t dim(int i) const { return shape().dim(i); }
  int64_t numel() const { return impl_ ? shape().numel() : 0; }

  /// Values. Deferred work is done here, so take the pointer before a parallel region.
  const float* data() const;
  float* data();
  std::span<const float> span() const { return {data(), static_cast<size_t>(numel())}; }
  std::span<float> span() { return {data(), static_cast<size_t>(numel())}; }
  float item() const;                                    // the only element
  float at(std::initializer_list<int64_t> index) const;  // bounds-checked, for tests and printing

  /// Work not done yet, or null (also for a view of another shape).
  const std::shared_ptr<Deferred>& pending() const;
  /// True if no other handle shares the values: an op may then overwrite them.
  bool unique() const;
  /// What the values are multiples of (core/grid.h), or null: not known. Until they are changed.
  const std::shared_ptr<const IntegerGrid>& grid() const;
  void set_grid(std::shared_ptr<const IntegerGrid> grid);

  // --- In place; for initializers and optimizers only.
  Tensor& fill_(float value);
  Tensor& copy_(const Tensor& source);
  Tensor& uniform_(Rng& rng, float lo, float hi);
  Tensor& normal_(Rng& rng, float mean, float stddev);

  // --- Same values, other handle.
  Tensor clone() const;                      // a copy of the values, no history
  Tensor detach() const;                     // shared values, no history
  Tensor view(const Shape& shape) const;     // shared values, no history, same number of elements
  Tensor reshape(const Shape& shape) const;  // the op of ops.h: shared values, with history

  // --- Autograd.
  bool requires_grad() const;  // a leaf that wants a gradient, or the result of an op on one
  Tensor& requires_grad_(bool wanted = true);  // leaves only
  bool is_leaf() const;
  /// Accumulated d(loss)/d(this), empty before the first backward().
  const Tensor& grad() const;
  void set_grad(Tensor grad);
  void zero_grad();  // drops the gradient
  /// Fills grad() of every leaf this was computed from. Frees the history on the way.
  void backward() const;  // of a single-element tensor, seed 1
  void backward(const Tensor& seed) const;

  const std::shared_ptr<Node>& node() const;
  const void* id() const { return impl_.get(); }  // identity of the handle's target

 private:
  struct Storage;
  struct Impl;
  friend struct TapeAccess;
  void settle_or_wait_for(const std::vector<Tensor>& reads);
  std::shared_ptr<Impl> impl_;
};

/// Values and shape equal.
bool operator==(const Tensor& a, const Tensor& b);
std::ostream& operator<<(std::ostream& out, const Tensor& t);

/// Layout changes at the border to files: [N, C, H, W] <-> [N, H, W, C], and OIHW <-> OHWI
/// likewise.
Tensor nchw_to_nhwc(const Tensor& t);
Tensor nhwc_to_nchw(const Tensor& t);

}  // namespace pare
