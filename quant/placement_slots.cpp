#include "quant/placement_slots.h"

#include <algorithm>
#include <unordered_map>

#include "core/autograd.h"

namespace pare::quant {

namespace {

using nn::Graph;

/// Stands in empty places; values of its own tell what went through it from what did not.
struct Probe final : nn::Module {
  Tensor forward(const Tensor& x) override { return x.clone(); }
  std::string describe() const override { return "Probe"; }
};

/// Fills empty children but those in sockets.
class FillEmpty final : public nn::Visitor {
 public:
  void on_child(std::string_view name, nn::Layer& child) override {
    if (child) {
      child.visit(*this);
    } else if (name != "weight_fn" && name != "input_fn") {
      child = Probe();
    }
  }
};

/// Ops and module calls of one forward. Values are told apart by where they are stored.
class Watcher final : public OpObserver, public nn::ForwardObserver {
 public:
  struct Op {
    std::string path, name;
    std::vector<const float*> inputs;
  };

  explicit Watcher(nn::Layer& model) {
    nn::for_each_layer(model,
                       [&](const std::string& path, nn::Layer& layer) { paths_[&*layer] = path; });
  }

  void before(nn::Module& module) override { stack_.push_back(&module); }
  void after(nn::Module& module, const Tensor&, const Tensor& y) override {
    stack_.pop_back();
    const auto it = paths_.find(&module);
    if (it == paths_.end() || it->second.empty()) return;
    ++times_[it->second];
    made_by_.emplace(y.data(), it->second);  // inner modules come first, and stay
    alive_.push_back(y);
  }
  void after(const OpCall& call) override {
    Op op{innermost(), call.op, {}};
    for (const Tensor& t : call.inputs) {
      op.inputs.push_back(t ? t.data() : nullptr);
      if (t) ++reads_[t.data()];
      if (t) alive_.push_back(t);
    }
    alive_.push_back(call.y);
    ops_.push_back(std::move(op));
  }

  void finish(const Tensor& y) { ++reads_[y.data()]; }

  const std::vector<Op>& ops() const { return ops_; }
  /// The module whose result this is, if it runs once and nothing else reads the result.
  std::optional<Slot> maker(const float* value) const {
    const auto it = made_by_.find(value);
    const auto reads = reads_.find(value);
    if (it == made_by_.end() || reads == reads_.end() || reads->second != 1) return {};
    if (times_.at(it->second) != 1) return {};
    return Slot{it->second, Socket::output};
  }

 private:
  std::string innermost() const {
    for (auto m = stack_.rbegin(); m != stack_.rend(); ++m) {
      const auto it = paths_.find(*m);
      if (it != paths_.end()) return it->second;
    }
    return {};
  }

  std::unordered_map<const nn::Module*, std::string> paths_;
  std::vector<const nn::Module*> stack_;
  std::vector<Op> ops_;
  std::unordered_map<const float*, std::string> made_by_;
  std::unordered_map<const float*, int> reads_;
  std::map<std::string, int> times_;
  std::vector<Tensor> alive_;  // so that no address is used twice
};

}  // namespace

Slots::Slots(const nn::Layer& model, const Tensor& example) {
  nn::Layer copy = model;
  FillEmpty fill;
  copy.visit(fill);
  const nn::EvalMode eval(copy);
  const NoGrad guard;
  Watcher watcher(copy);
  watcher.finish(copy(example));
  for (const Watcher::Op& op : watcher.ops()) {
    Call call;
    for (const float* value : op.inputs) call.operands.push_back(watcher.maker(value));
    calls_[{op.path, op.name}].push_back(std::move(call));
  }
}

std::optional<Slot> Slots::of(const Graph& graph, int node, size_t operand) const {
  const Graph::Node& n = graph[node];
  // Which of the same ops of the same module this is; those before it come earlier in the graph.
  size_t at = 0, all = 0;
  for (int i = 0; i < graph.size(); ++i) {
    if (graph[i].is_tensor() || graph[i].op != n.op || graph[i].path != n.path) continue;
    at += i < node;
    ++all;
  }
  // A module that computes this from one value and nothing else, once: its input is as good.
  const auto values = std::count_if(n.inputs.begin(), n.inputs.end(), [&](int from) {
    return from != Graph::kNone && !graph[from].is_tensor();
  });
  if (!n.path.empty() && n.name == n.path && all == 1 && values == 1) {
    return Slot{n.path, Socket::input};
  }
  const auto it = calls_.find({n.path, n.op});
  // Ops whose result is not used are not in the graph: then it is not clear which is which.
  if (it == calls_.end() || it->second.size() != all) return {};
  const std::vector<std::optional<Slot>>& operands = it->second[at].operands;
  return operand < operands.size() ? operands[operand] : std::nullopt;
}

}  // namespace pare::quant
