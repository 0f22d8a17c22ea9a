#include "deploy/onnx/facts.h"

#include <algorithm>
#include <limits>
#include <set>

namespace pare::onnx {

using nn::Graph;

namespace {

constexpr int kNone = Graph::kNone;

bool one_of(const std::set<std::string>& ops, const std::string& op) { return ops.count(op) > 0; }

/// The one node that its module computes, if that is a quantizer.
const nn::Coded* quantizer_at(const Graph& graph, int i) {
  const Graph::Node& n = graph[i];
  const auto* coded = n.as<nn::Coded>();
  const auto same = [&](int other) { return other != kNone && graph[other].module == n.module; };
  const bool alone = std::none_of(n.users.begin(), n.users.end(), same) &&
                     (n.inputs.empty() || !same(n.inputs[0]) || graph[n.inputs[0]].is_tensor());
  return alone ? coded : nullptr;
}

}  // namespace

bool is_layer(const Graph::Node& node) { return node.op == "conv2d" || node.op == "linear"; }

bool only_moves(const std::string& op) {
  static const std::set<std::string> kOps = {"max_pool2d", "flatten",         "reshape",
                                             "permute",    "slice",           "transpose",
                                             "concat",     "channel_shuffle", "pad"};
  return one_of(kOps, op);
}

Facts::Facts(const Graph& graph, bool fold_bn)
    : norms(graph.nodes.size(), kNone), layers(graph.nodes.size(), kNone) {
  for (int i = 0; i < graph.size(); ++i) {
    const std::vector<int>& inputs = graph[i].inputs;
    const bool is_static =
        graph[i].is_tensor() ||
        (i != graph.input && std::all_of(inputs.begin(), inputs.end(), [&](int k) {
           return k == kNone || statics[static_cast<size_t>(k)];
         }));
    statics.push_back(is_static);
    quantizers.push_back(is_static ? nullptr : quantizer_at(graph, i));
    nonnegative.push_back(must_be_nonnegative(graph, i));
    uppers.push_back(upper_of(graph, i));
  }
  if (fold_bn) find_norms(graph);
}

bool Facts::must_be_nonnegative(const Graph& graph, int i) const {
  static const std::set<std::string> kAlways = {"relu", "relu6", "sigmoid", "exp",     "square",
                                                "abs",  "sqrt",  "softmax", "mean_abs"};
  static const std::set<std::string> kAsInputs = {"avg_pool2d", "mean", "sum", "max", "add"};
  const Graph::Node& n = graph[i];
  if (n.is_tensor() || i == graph.input) return false;
  if (const nn::Coded* q = quantizer(i)) {
    const nn::Codes c = q->codes_for({});
    if (c.kind == nn::Codes::Kind::uniform && c.zero.size() == 1 && c.lo >= c.zero[0]) return true;
    return c.kind == nn::Codes::Kind::uniform && is_nonnegative(n.inputs[0]);
  }
  if (one_of(kAlways, n.op)) return true;
  if (n.op == "clamp") return n.get<float>("lo") >= 0;
  if (!one_of(kAsInputs, n.op) && !only_moves(n.op)) return false;
  if (const Attribute* value = n.find("value"); value && std::get<float>(value->value) < 0) {
    return false;
  }
  return std::all_of(n.inputs.begin(), n.inputs.end(),
                     [&](int k) { return k != kNone && is_nonnegative(k); });
}

float Facts::upper_of(const Graph& graph, int i) const {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Graph::Node& n = graph[i];
  if (n.op == "relu6") return 6;
  const bool same = n.op == "max_pool2d" || n.op == "flatten" || n.op == "reshape";
  return same && !is_static(i) ? upper(n.inputs[0]) : kInfinity;
}

/// A batch norm is folded if nobody else reads the layer's result, and all is known beforehand.
void Facts::find_norms(const Graph& graph) {
  for (int i = 0; i < graph.size(); ++i) {
    const Graph::Node& n = graph[i];
    if (n.op != "batch_norm") continue;
    const int from = n.inputs[0];
    if (!is_layer(graph[from]) || graph[from].users.size() != 1 || from == graph.output) continue;
    if (norm_of(from) != kNone) continue;
    norms[static_cast<size_t>(from)] = i;
    layers[static_cast<size_t>(i)] = from;
  }
}

}  // namespace pare::onnx
