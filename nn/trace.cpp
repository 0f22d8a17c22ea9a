#include "nn/trace.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "core/autograd.h"

namespace pare::nn {

namespace {

constexpr int kNone = Graph::kNone;

bool is_socket(std::string_view name) { return name == "weight_fn" || name == "input_fn"; }

/// Where a module stands, and whether it is built of other modules than those in its sockets.
struct Place {
  std::string path;
  bool composite = false;
};

using Places = std::unordered_map<const Module*, Place>;

Places places_of(Layer& model) {
  Places places;
  std::set<std::string> composite;
  for_each_layer(model, [&](const std::string& path, Layer& layer) {
    places[&*layer] = {path, false};
    if (path.empty()) return;
    const size_t dot = path.rfind('.');
    const std::string name = dot == std::string::npos ? path : path.substr(dot + 1);
    if (!is_socket(name)) composite.insert(dot == std::string::npos ? "" : path.substr(0, dot));
  });
  for (auto& [module, place] : places) place.composite = composite.count(place.path) > 0;
  return places;
}

/// Builds nodes while the model runs. Tensors are told apart by identity and, because detach() and
/// view() make new ones of the same values without an op, by where their values are.
class Tracer final : public OpObserver, public ForwardObserver {
 public:
  Tracer(Layer& model, const Tensor& example) : places_(places_of(model)) {
    for (const NamedTensor& t : parameters(model)) own(t, Graph::kParameter);
    for (const NamedTensor& t : buffers(model)) own(t, Graph::kBuffer);
    graph_.input = add({.name = Graph::kInput, .op = Graph::kInput, .shape = example.shape()},
                       example, /*call=*/0);
  }

  void before(Module& module) override { stack_.push_back({&module, ++calls_}); }
  void after(Module&, const Tensor&, const Tensor&) override { stack_.pop_back(); }

  void after(const OpCall& call) override {
    Graph::Node node{.op = call.op, .shape = call.y.shape()};
    for (const Tensor& t : call.inputs) node.inputs.push_back(node_of(t));
    while (!node.inputs.empty() && node.inputs.back() == kNone) node.inputs.pop_back();
    for (const Attribute& a : call.attributes) {
      if (!a.name) continue;
      const Tensor* state = std::get_if<Tensor>(&a.value);
      if (state) {
        node.state.push_back(node_of(*state));
      } else {
        node.attributes.push_back(a);
      }
    }
    const int where = place(node);
    add(std::move(node), call.y, where);
  }

  TracedValues finish(const Tensor& y) {
    graph_.output = node_of(y);
    drop_unused();
    name_nodes();
    return {std::move(graph_), std::move(alive_)};
  }

 private:
  struct Frame {
    Module* module;
    int call;
  };
  struct Own {
    std::string name;
    const char* kind;
    Tensor tensor;
  };

  void own(const NamedTensor& t, const char* kind) {
    own_.emplace(t.tensor.data(), Own{t.name, kind, t.tensor});
  }

  /// Says in which module the node is computed; returns the number of that module's call.
  int place(Graph::Node& node) const {
    // A module that is not part of the tree, made within a forward, belongs to the one around it.
    for (auto frame = stack_.rbegin(); frame != stack_.rend(); ++frame) {
      const auto it = places_.find(frame->module);
      if (it == places_.end()) continue;
      node.module = frame->module;
      node.path = it->second.path;
      return frame->call;
    }
    return 0;
  }

  int add(Graph::Node node, const Tensor& value, int call) {
    const int index = graph_.size();
    graph_.nodes.push_back(std::move(node));
    call_of_.push_back(call);
    by_id_[value.id()] = index;
    if (value.numel() > 0) by_values_[value.data()] = index;
    alive_.push_back(value);
    return index;
  }

  int node_of(const Tensor& t) {
    if (!t) return kNone;
    if (const auto it = by_id_.find(t.id()); it != by_id_.end()) return it->second;
    const auto same = t.numel() > 0 ? by_values_.find(t.data()) : by_values_.end();
    if (same == by_values_.end()) return add_tensor(t);
    if (graph_[same->second].shape == t.shape()) return same->second;
    Graph::Node view{.op = "reshape", .inputs = {same->second}, .shape = t.shape()};
    const int where = place(view);
    return add(std::move(view), t, where);
  }

  int add_tensor(const Tensor& t) {
    const auto it = own_.find(t.data());
    const bool known = it != own_.end();
    Graph::Node node{.name = known ? it->second.name : std::string(),
                     .op = known ? it->second.kind : Graph::kConstant,
                     .shape = t.shape(),
                     .tensor = known ? it->second.tensor : t};
    if (!known) place(node);
    return add(std::move(node), t, 0);
  }

  /// "conv1" for the only op of a module that holds no others, else "layer1.0.add"; "#2" and so on
  /// tell equal names apart.
  void name_nodes() {
    std::map<int, int> ops_in;  // by call
    for (size_t i = 0; i < call_of_.size(); ++i) {
      if (!graph_.nodes[i].is_tensor()) ++ops_in[call_of_[i]];
    }
    std::map<std::string, int> uses;
    for (size_t i = 0; i < call_of_.size(); ++i) {
      Graph::Node& n = graph_.nodes[i];
      if (n.name.empty()) {
        const bool alone = n.module && !n.is_tensor() && ops_in[call_of_[i]] == 1 &&
                           !places_.at(n.module).composite && !n.path.empty();
        n.name = alone ? n.path : n.path.empty() ? n.op : n.path + "." + n.op;
      }
      const int use = ++uses[n.name];
      if (use > 1) n.name += "#" + std::to_string(use);
    }
  }

  /// Keeps what leads to the output, and the input, and fills users.
  void drop_unused() {
    std::vector<bool> used(graph_.nodes.size());
    used[static_cast<size_t>(graph_.input)] = used[static_cast<size_t>(graph_.output)] = true;
    for (size_t i = graph_.nodes.size(); i-- > 0;) {
      if (!used[i]) continue;
      for (int from : sources(graph_.nodes[i])) used[static_cast<size_t>(from)] = true;
    }
    std::vector<int> new_index(used.size(), kNone), calls;
    std::vector<Tensor> values;
    Graph kept;
    const auto moved = [&](int i) {
      return i == kNone ? kNone : new_index[static_cast<size_t>(i)];
    };
    for (size_t i = 0; i < used.size(); ++i) {
      if (!used[i]) continue;
      const int index = new_index[i] = kept.size();
      calls.push_back(call_of_[i]);
      values.push_back(alive_[i]);
      Graph::Node& n = kept.nodes.emplace_back(std::move(graph_.nodes[i]));
      for (int& from : n.inputs) from = moved(from);
      for (int& from : n.state) from = moved(from);
      for (int from : sources(n)) kept.nodes[static_cast<size_t>(from)].users.push_back(index);
    }
    kept.input = moved(graph_.input);
    kept.output = moved(graph_.output);
    graph_ = std::move(kept);
    call_of_ = std::move(calls);
    alive_ = std::move(values);
  }

  static std::set<int> sources(const Graph::Node& n) {
    std::set<int> all(n.inputs.begin(), n.inputs.end());
    all.insert(n.state.begin(), n.state.end());
    all.erase(kNone);
    return all;
  }

  Places places_;
  std::unordered_map<const float*, Own> own_;
  Graph graph_;
  std::vector<int> call_of_;  // by node: in which module call it was computed
  std::unordered_map<const void*, int> by_id_;
  std::unordered_map<const float*, int> by_values_;
  std::vector<Tensor> alive_;  // by node, so that no address is used twice
  std::vector<Frame> stack_;
  int calls_ = 0;
};

}  // namespace

const Attribute* Graph::Node::find(std::string_view attribute) const {
  const auto it = std::find_if(attributes.begin(), attributes.end(),
                               [&](const Attribute& a) { return a.name == attribute; });
  return it == attributes.end() ? nullptr : &*it;
}

void Graph::Node::fail_attribute(std::string_view attribute) const {
  throw Error(str("trace: ", name, " (", op, ") has no attribute ", attribute, " of that type"),
              "Graph::Node::get");
}

int Graph::find(std::string_view name) const {
  const auto it =
      std::find_if(nodes.begin(), nodes.end(), [&](const Node& n) { return n.name == name; });
  return it == nodes.end() ? kNone : static_cast<int>(it - nodes.begin());
}

int Graph::input_of(int node, size_t position) const {
  const std::vector<int>& inputs = nodes[static_cast<size_t>(node)].inputs;
  return position < inputs.size() ? inputs[position] : kNone;
}

Graph trace(Layer& model, const Tensor& example) { return trace_values(model, example).graph; }

TracedValues trace_values(Layer& model, const Tensor& example) {
  PARE_CHECK(model, "trace: the model is empty");
  PARE_CHECK(example, "trace: needs an example input");
  const EvalMode eval(model);
  const NoGrad guard;
  // A handle of its own: the caller's tensor may be an input of ops outside.
  const Tensor x = example.detach();
  Tracer tracer(model, x);
  return tracer.finish(model(x));
}

}  // namespace pare::nn
