#pragma once
// The tape: a dynamic graph of nodes, one per recorded op. A node's backward is a lambda whose
// capture list is the list of saved tensors. First derivatives only; nodes are freed as backward
// passes them.

#include <functional>
#include <initializer_list>
#include <memory>
#include <vector>

#include "core/op_observer.h"
#include "core/tensor.h"

namespace pare {

/// Gradients in the order of an op's inputs; an empty tensor is a zero.
using Grads = std::vector<Tensor>;

struct Node;

/// Which inputs want a gradient.
class Needs {
 public:
  Needs() = default;
  explicit Needs(const Node& node);

  bool operator[](size_t i) const { return (bits_ >> i) & 1u; }
  void set(size_t i) { bits_ |= uint64_t{1} << i; }
  bool any() const { return bits_ != 0; }

  /// The gradient that other readers of input i have left there so far, if any. It is taken away:
  /// the gradient that is returned for this input must contain it. For a backward that has its
  /// result in cache and can add to it there.
  Tensor take(size_t i) const;

 private:
  uint64_t bits_ = 0;
  const Node* node_ = nullptr;
};

using Backward = std::function<Grads(const Tensor& dy, Needs need)>;

struct Node {
  struct Input {
    std::shared_ptr<Node> node;  // of an op's result
    Tensor leaf;                 // of a leaf that wants a gradient; both empty: no gradient wanted
  };
  const char* op = "";
  uint64_t order = 0;  // creation time: inputs always come before
  std::vector<Input> inputs;
  Backward backward;
  Tensor grad;  // d(loss)/d(output), while backward runs

  ~Node();
};

/// Ties `y` to its inputs, if recording is on and an input wants a gradient; returns y.
/// `backward` may capture inputs and `y.detach()`, never `y` itself (the node would own itself).
Tensor record(const char* op, Tensor y, const std::vector<Tensor>& inputs, Backward backward);
/// The same with the op's options, for observers.
Tensor record(const char* op, Attributes attributes, Tensor y, const std::vector<Tensor>& inputs,
              Backward backward);

/// Told of the progress of a backward(), on its thread.
struct GradWatcher {
  virtual ~GradWatcher() = default;
  /// The gradient of this leaf will not change any more. Every leaf that wants one and that the
  /// result was computed from is named once, those that got none at the end.
  virtual void finished(const Tensor& leaf) = 0;
  /// Another op's gradients are there.
  virtual void progress() {}
};
/// y.backward(seed), watched.
void backward(const Tensor& y, const Tensor& seed, GradWatcher& watcher);

bool grad_enabled();

/// No op is recorded while one of these lives.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

template <class F>
auto no_grad(F&& f) {
  NoGrad guard;
  return f();
}

}  // namespace pare
