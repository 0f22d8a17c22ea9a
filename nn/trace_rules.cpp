#include "nn/trace_rules.h"

#include <algorithm>

#include "core/kernels/pointwise.h"

namespace pare::nn {

namespace {

using Role = Channels::Role;
using Flow = ChannelFlow;
using List = ChannelList;

constexpr int kNone = Graph::kNone;

/// y has the channels of x.
List same(Flow& f, int node) { return f.in(node); }

List pool(Flow& f, int node) { return f.in(node).axes == 1 ? f.in(node) : f.unusual(node); }

/// Every channel `times` times, side by side.
List repeated(const List& x, int64_t times) {
  List y;
  for (int id : x.ids) y.ids.insert(y.ids.end(), static_cast<size_t>(times), id);
  return y;
}

/// Whether `value` is a weight that a rule can cut: static, or left out.
bool cuttable(const Flow& f, int value) { return value == kNone || f.is_static(value); }

void hold_bias(Flow& f, int node, const List& list) {
  if (const int b = f.arg(node, 2); b != kNone) f.hold({b, 0, Role::each}, list, node);
}

/// A depthwise convolution: its filters belong to the channels they read, `each` to one.
List depthwise(Flow& f, int node, int64_t each, bool transposed) {
  const List& x = f.in(node);
  const List y = repeated(x, each);
  f.hold({f.arg(node, 1), 0, Role::each}, transposed ? x : y, node);
  hold_bias(f, node, y);
  return y;
}

// x [N, H, W, in], w [out, kh, kw, in/groups]
List conv2d(Flow& f, int node) {
  const int w = f.arg(node, 1);
  const List& x = f.in(node);
  if (f.is_static(f.arg(node, 0)) || !cuttable(f, w) || x.axes != 1) {
    return f.unusual(node);
  }
  const int64_t out = f.node(w).shape.dim(0), groups = f.number(node, "groups");
  if (groups > 1 && groups == x.size()) return depthwise(f, node, out / groups, false);
  const List y = f.make(out);
  f.hold({w, 0, Role::out}, y, node);
  f.hold({w, 3, Role::in, static_cast<int>(groups)}, x, node);
  hold_bias(f, node, y);
  f.blocks(node, x, groups);
  f.blocks(node, y, groups);
  return y;
}

// x [N, H, W, in], w [in, kh, kw, out/groups]
List conv_transpose2d(Flow& f, int node) {
  const int w = f.arg(node, 1);
  const List& x = f.in(node);
  if (f.is_static(f.arg(node, 0)) || !cuttable(f, w) || x.axes != 1) {
    return f.unusual(node);
  }
  const int64_t groups = f.number(node, "groups"), each = f.node(w).shape.dim(3);
  if (groups > 1 && groups == x.size()) return depthwise(f, node, each, true);
  const List y = f.make(each * groups);
  f.hold({w, 0, Role::in}, x, node);
  f.hold({w, 3, Role::out, static_cast<int>(groups)}, y, node);
  hold_bias(f, node, y);
  f.blocks(node, x, groups);
  f.blocks(node, y, groups);
  return y;
}

// x [N, in], w [out, in]
List linear(Flow& f, int node) {
  const int w = f.arg(node, 1);
  const List& x = f.in(node);
  if (f.is_static(f.arg(node, 0)) || !cuttable(f, w) || x.axes != 1) return f.unusual(node);
  const List y = f.make(f.node(w).shape.dim(0));
  f.hold({w, 0, Role::out}, y, node);
  f.hold({w, 1, Role::in}, x, node);
  hold_bias(f, node, y);
  return y;
}

/// Batch and layer norm: parameters and statistics of one number per channel.
List norm(Flow& f, int node) {
  const List& x = f.in(node);
  if (f.is_static(f.arg(node, 0)) || x.axes != 1) return f.unusual(node);
  const Graph::Node& n = f.node(node);
  for (const auto* list : {&n.inputs, &n.state}) {
    for (int t : *list) {
      if (t != kNone && f.is_static(t)) f.hold({t, 0, Role::each}, x, node);
    }
  }
  return x;
}

bool same_tail(const Shape& a, const Shape& b, int axes) {
  for (int i = 1; i <= axes; ++i) {
    if (i > a.dims() || i > b.dims() || a.dim(-i) != b.dim(-i)) return false;
  }
  return true;
}

/// Every one of the last `axes` sizes is 1: stretched over all channels.
bool flat_tail(const Shape& s, int axes) {
  for (int i = 1; i <= std::min(axes, s.dims()); ++i) {
    if (s.dim(-i) != 1) return false;
  }
  return true;
}

/// Element by element over two operands: their channels are tied, unless one is stretched. Also
/// transforms with parameters: those have one number in all, or one per channel.
List elementwise(Flow& f, int node) {
  const Graph::Node& n = f.node(node);
  const auto is_whole = [&](int i) {
    return i != kNone && !f.is_static(i) && same_tail(f.node(i).shape, n.shape, f.of(i).axes);
  };
  const auto whole = std::find_if(n.inputs.begin(), n.inputs.end(), is_whole);
  if (whole == n.inputs.end()) return f.unusual(node);
  const List y = f.of(*whole);
  for (int i : n.inputs) {
    if (i == kNone || i == *whole) continue;
    if (y.size() > 1 && flat_tail(f.node(i).shape, y.axes)) continue;
    const bool fits = same_tail(f.node(i).shape, n.shape, y.axes);
    if (f.is_static(i)) {
      if (!fits || y.axes != 1) return f.unusual(node);
      f.hold({i, f.node(i).shape.dims() - 1, Role::each}, y, node);
    } else {
      if (!fits || f.of(i).axes != y.axes) return f.unusual(node);
      f.tie(y, f.of(i));
    }
  }
  return y;
}

List softmax(Flow& f, int node) {
  f.keep(f.in(node), "channels of " + f.node(node).name + ", which compares all of them");
  return f.in(node);
}

/// Sums and the like: over pixels and images channels pass; over channels they end.
List reduce(Flow& f, int node) {
  const List& x = f.in(node);
  const int first = f.node(f.arg(node, 0)).shape.dims() - x.axes;
  const Shape& axes = f.node(node).get<Shape>("axes");
  if (std::all_of(axes.begin(), axes.end(), [&](int64_t a) { return a < first; })) return x;
  return f.make_kept(f.node(node).shape.dim(-1), "what " + f.node(node).name + " sums up");
}

/// Over channels, one mean for each group.
List mean_abs(Flow& f, int node) {
  return f.make_kept(f.node(node).shape.dim(-1), "what " + f.node(node).name + " sums up");
}

/// With one scale for all channels each goes its own way; groups must keep their places.
List scale_rows(Flow& f, int node) {
  return f.node(f.arg(node, 1)).shape.dim(-1) == 1 ? f.in(node) : f.unusual(node);
}

List no_rule(Flow& f, int node) {
  return f.unknown(node, "no rule for " + f.node(node).op + " in " + f.node(node).name);
}

const ChannelRules& rules() {
  static const ChannelRules all = {
      {"conv2d", conv2d},     {"conv_transpose2d", conv_transpose2d},
      {"linear", linear},     {"batch_norm", norm},
      {"layer_norm", norm},   {"add", elementwise},
      {"sub", elementwise},   {"mul", elementwise},
      {"div", elementwise},   {"fake_quant", elementwise},
      {"softmax", softmax},   {"log_softmax", softmax},
      {"sum", reduce},        {"mean", reduce},
      {"var", reduce},        {"max", reduce},
      {"max_pool2d", pool},   {"avg_pool2d", pool},
      {"mean_abs", mean_abs}, {"scale_rows", scale_rows},
      {"dropout", same},
  };
  return all;
}

/// A transform in the socket of a layer changes each number for itself.
bool in_socket(const std::string& path) { return path.find("input_fn") != std::string::npos; }

bool is_pointwise(const std::string& op) {
  using Kind = Pointwise::Kind;
  for (int kind = 0; kind <= static_cast<int>(Kind::round); ++kind) {
    if (op == Pointwise{.kind = static_cast<Kind>(kind)}.name()) return true;
  }
  return false;
}

}  // namespace

ChannelRule channel_rule(const Graph::Node& node) {
  for (const ChannelRules* known : {&rules(), &shape_rules()}) {
    if (const auto it = known->find(node.op); it != known->end()) return it->second;
  }
  if (is_pointwise(node.op)) return same;
  return in_socket(node.path) ? elementwise : no_rule;
}

}  // namespace pare::nn
