#include "core/autograd.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <optional>
#include <queue>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/error.h"
#include "core/ops.h"
#include "core/tensor_impl.h"

namespace pare {

namespace {

thread_local bool recording = true;

std::atomic<uint64_t> next_order{1};

bool fusion_default() {
  const char* value = std::getenv("PARE_FUSION");
  return !value || std::string_view(value) != "0";
}

bool& fusion_flag() {
  static bool on = fusion_default();
  return on;
}

Node::Input edge_to(const Tensor& t) {
  if (!t || !t.requires_grad()) return {};
  if (t.node()) return {t.node(), {}};
  return {nullptr, t};
}

/// sum += g; takes g over when there is nothing to add to. A gradient that others may still read is
/// copied before it is written to.
void accumulate(Tensor& sum, const Tensor& g) {
  if (!sum) {
    sum = g;
  } else {
    NoGrad guard;
    sum = add(sum, g);
  }
}

struct Later {
  bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
    return a->order < b->order;
  }
};

/// How often each leaf is still to get a gradient, in the order in which they are met.
class PendingLeaves {
 public:
  explicit PendingLeaves(const Node& root) {
    std::vector<const Node*> walk{&root};
    std::unordered_set<const Node*> seen{&root};
    while (!walk.empty()) {
      const Node* node = walk.back();
      walk.pop_back();
      for (const Node::Input& input : node->inputs) {
        if (input.leaf) add(input.leaf);
        if (input.node && seen.insert(input.node.get()).second) walk.push_back(input.node.get());
      }
    }
  }
  /// These leaves have got what this node has for them.
  void passed(const std::vector<Tensor>& leaves, GradWatcher& watcher) {
    for (const Tensor& leaf : leaves) {
      if (--left_.at(leaf.id()) == 0) watcher.finished(leaf);
    }
  }
  /// Those that no gradient reached.
  void finish(GradWatcher& watcher) const {
    for (const Tensor& leaf : leaves_) {
      if (left_.at(leaf.id()) > 0) watcher.finished(leaf);
    }
  }

 private:
  void add(const Tensor& leaf) {
    if (left_[leaf.id()]++ == 0) leaves_.push_back(leaf);
  }

  std::vector<Tensor> leaves_;
  std::unordered_map<const void*, int64_t> left_;
};

std::vector<Tensor> leaves_of(const Node& node) {
  std::vector<Tensor> leaves;
  for (const Node::Input& input : node.inputs) {
    if (input.leaf) leaves.push_back(input.leaf);
  }
  return leaves;
}

/// Runs a node's backward, hands the gradients to its inputs and frees it. Newly reached nodes go
/// to `ready`.
void run_node(Node& node, std::vector<std::shared_ptr<Node>>& reached) {
  PARE_CHECK(node.backward,
             "backward: the history of this result was freed by an earlier backward()");
  const Needs need(node);
  uint64_t met = 0;  // inputs that have a gradient already
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i].node && node.inputs[i].node->grad) met |= uint64_t{1} << i;
  }
  const Backward backward = std::exchange(node.backward, nullptr);
  Grads grads = backward(node.grad, need);
  node.grad = {};
  PARE_CHECK(grads.size() == node.inputs.size(), node.op, ": backward returned ", grads.size(),
             " gradients for ", node.inputs.size(), " inputs");
  for (size_t i = 0; i < grads.size(); ++i) {
    Node::Input& input = node.inputs[i];
    if (!need[i] || !grads[i]) continue;
    if (input.leaf) {
      PARE_CHECK(grads[i].shape() == input.leaf.shape(), node.op, ": gradient ", grads[i].shape(),
                 " for an input of shape ", input.leaf.shape());
      accumulate(TapeAccess::of(input.leaf).grad, grads[i]);
    } else {
      if (!input.node->grad && !(met >> i & 1u)) reached.push_back(input.node);
      accumulate(input.node->grad, grads[i]);
    }
  }
  node.inputs.clear();
}

void run_nodes(const std::shared_ptr<Node>& root, const Tensor& seed, GradWatcher* watcher) {
  NoGrad guard;
  std::optional<PendingLeaves> leaves;
  if (watcher) leaves.emplace(*root);
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, Later> ready;
  std::vector<std::shared_ptr<Node>> reached;
  std::vector<Tensor> fed;
  root->grad = seed;
  ready.push(root);
  while (!ready.empty()) {
    const std::shared_ptr<Node> node = ready.top();
    ready.pop();
    if (watcher) fed = leaves_of(*node);
    run_node(*node, reached);
    for (auto& n : reached) ready.push(std::move(n));
    reached.clear();
    if (watcher) leaves->passed(fed, *watcher), watcher->progress();
  }
  if (watcher) leaves->finish(*watcher);
}

void run_backward(const Tensor& y, const Tensor& seed, GradWatcher* watcher) {
  PARE_CHECK(y, "backward: the tensor is empty");
  PARE_CHECK(seed.shape() == y.shape(), "backward: seed ", seed.shape(), ", expected ", y.shape());
  PARE_CHECK(y.requires_grad(), "backward: nothing it was computed from wants a gradient",
             hint("call requires_grad_() on a leaf, and compute outside of no_grad"));
  if (y.node()) return run_nodes(y.node(), seed, watcher);
  accumulate(TapeAccess::of(y).grad, seed);
  if (watcher) watcher->finished(y);
}

}  // namespace

bool grad_enabled() { return recording; }
NoGrad::NoGrad() : before_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() { recording = before_; }

bool fusion_enabled() { return fusion_flag() && !OpObserver::any(); }
void set_fusion(bool on) { fusion_flag() = on; }

Tensor record(const char* op, Tensor y, const std::vector<Tensor>& inputs, Backward backward) {
  return record(op, {}, std::move(y), inputs, std::move(backward));
}

Tensor record(const char* op, Attributes attributes, Tensor y, const std::vector<Tensor>& inputs,
              Backward backward) {
  if (OpObserver::any()) [[unlikely]]
    OpObserver::notify({op, attributes, inputs, y});
  if (!recording) return y;
  if (std::none_of(inputs.begin(), inputs.end(),
                   [](const Tensor& t) { return t && t.requires_grad(); })) {
    return y;
  }
  auto node = std::make_shared<Node>();
  node->op = op;
  node->order = next_order++;
  for (const Tensor& t : inputs) node->inputs.push_back(edge_to(t));
  node->backward = std::move(backward);
  TapeAccess::of(y).node = std::move(node);
  return y;
}

Needs::Needs(const Node& node) : node_(&node) {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i].node || node.inputs[i].leaf) set(i);
  }
}

Tensor Needs::take(size_t i) const {
  const std::shared_ptr<Node>& from = node_->inputs[i].node;
  return from ? std::exchange(from->grad, {}) : Tensor{};
}

Node::~Node() {
  // A long chain would otherwise be destroyed by recursion, one stack frame per node.
  std::vector<std::shared_ptr<Node>> dying;
  const auto strip = [&](Node& n) {
    for (Input& input : n.inputs) {
      if (input.node) dying.push_back(std::move(input.node));
    }
    n.inputs.clear();
  };
  strip(*this);
  while (!dying.empty()) {
    const std::shared_ptr<Node> n = std::move(dying.back());
    dying.pop_back();
    if (n.use_count() == 1) strip(*n);
  }
}

bool Tensor::requires_grad() const { return impl_ && (impl_->node || impl_->wants_grad); }
bool Tensor::is_leaf() const { return !impl_ || !impl_->node; }

Tensor& Tensor::requires_grad_(bool wanted) {
  PARE_CHECK(impl_ && !impl_->node,
             "tensor: requires_grad_ is for leaves, this is the result of an op");
  impl_->wants_grad = wanted;
  return *this;
}

const Tensor& Tensor::grad() const {
  PARE_CHECK(impl_, "tensor: an empty tensor has no gradient");
  return impl_->grad;
}

void Tensor::set_grad(Tensor grad) {
  PARE_CHECK(impl_ && (!grad || grad.shape() == shape()), "tensor: gradient of another shape");
  impl_->grad = std::move(grad);
}

void Tensor::zero_grad() {
  if (impl_) impl_->grad = {};
}

const std::shared_ptr<Node>& Tensor::node() const {
  static const std::shared_ptr<Node> none;
  return impl_ ? impl_->node : none;
}

void Tensor::backward() const {
  PARE_CHECK(numel() == 1, "backward: needs a single element or a seed, shape is ", shape(),
             hint("reduce with sum() or mean(), or pass d(loss)/d(this)"));
  backward(Tensor::full(shape(), 1.0f));
}

void Tensor::backward(const Tensor& seed) const { run_backward(*this, seed, nullptr); }

void backward(const Tensor& y, const Tensor& seed, GradWatcher& watcher) {
  run_backward(y, seed, &watcher);
}

}  // namespace pare
