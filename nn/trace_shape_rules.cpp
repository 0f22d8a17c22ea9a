// Ops that move channels about, or cut and join axes.

#include <algorithm>
#include <array>

#include "nn/trace_rules.h"

namespace pare::nn {

namespace {

using Flow = ChannelFlow;
using List = ChannelList;

// [N, ..., C] -> [N, C ...]: y[c pixels + p] = x[p C + c]
List flatten(Flow& f, int node) {
  const List& x = f.in(node);
  const Shape& shape = f.node(f.arg(node, 0)).shape;
  const int64_t channels = shape.dim(-1), pixels = shape.numel() / shape.dim(0) / channels;
  List y;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t p = 0; p < pixels; ++p) {
      y.ids.push_back(x.ids[static_cast<size_t>((p * channels + c) % x.size())]);
    }
  }
  return y;
}

bool has_period(const std::vector<int>& ids, int64_t period) {
  for (size_t i = static_cast<size_t>(period); i < ids.size(); ++i) {
    if (ids[i] != ids[i - static_cast<size_t>(period)]) return false;
  }
  return true;
}

/// The same elements in memory: the list is repeated until whole axes of the new shape hold it, or
/// cut down to as few axes as say all.
List reshape(Flow& f, int node) {
  const List& x = f.in(node);
  const Shape& shape = f.node(node).shape;
  List y;
  int64_t run = 1;
  for (int axes = 1; axes <= shape.dims(); ++axes) {
    run *= shape.dim(-axes);
    if (run % x.size() == 0) {
      for (int64_t i = 0; i < run; ++i) {
        y.ids.push_back(x.ids[static_cast<size_t>(i % x.size())]);
      }
      y.axes = axes;
      break;
    }
  }
  if (y.ids.empty()) return f.unusual(node);
  run = 1;
  for (int axes = 1; axes <= y.axes; ++axes) {
    run *= shape.dim(-axes);
    if (y.size() % run == 0 && has_period(y.ids, run)) {
      y.ids.resize(static_cast<size_t>(run));
      y.axes = axes;
      break;
    }
  }
  // Cut into groups, as [N, H, W, C] -> [N, H, W, groups, C / groups].
  if (y.axes > 1) f.blocks(node, y, y.size() / shape.dim(-1));
  return y;
}

// y.dim(i) = x.dim(order[i]): fine if the last axes stay among themselves.
List permute(Flow& f, int node) {
  const List& x = f.in(node);
  const Shape& shape = f.node(f.arg(node, 0)).shape;
  const Shape& order = f.node(node).get<Shape>("order");
  const int first = shape.dims() - x.axes;
  for (int i = 0; i < first; ++i) {
    if (order[i] >= first) return f.unusual(node);
  }
  List y{.ids = {}, .axes = x.axes};
  for (int64_t k = 0; k < x.size(); ++k) {
    int64_t rest = k, from = 0;
    std::array<int64_t, Shape::kMaxDims> index{};  // of x's axes
    for (int i = shape.dims() - 1; i >= first; --i) {
      const int64_t size = shape.dim(static_cast<int>(order[i]));
      index[static_cast<size_t>(order[i])] = rest % size;
      rest /= size;
    }
    for (int i = first; i < shape.dims(); ++i) {
      from = from * shape.dim(i) + index[static_cast<size_t>(i)];
    }
    y.ids.push_back(x.ids[static_cast<size_t>(from)]);
  }
  return y;
}

bool along_channels(const Flow& f, int node) {
  return f.number(node, "axis") == f.node(node).shape.dims() - 1;
}

List concat(Flow& f, int node) {
  const Graph::Node& n = f.node(node);
  const bool joins = along_channels(f, node);
  List y;
  for (int i : n.inputs) {
    if (!f.is_static(i) && f.of(i).axes != 1) return f.unusual(node);
    const List part = f.is_static(i)
                          ? f.make_kept(f.node(i).shape.dim(-1), "given numbers in " + n.name)
                          : f.of(i);
    if (joins) {
      y.ids.insert(y.ids.end(), part.ids.begin(), part.ids.end());
    } else if (y.ids.empty()) {
      y = part;
    } else {
      f.tie(y, part);
    }
  }
  return y;
}

List slice(Flow& f, int node) {
  const List& x = f.in(node);
  if (f.number(node, "axis") < f.node(node).shape.dims() - x.axes) return x;
  if (x.axes != 1) return f.unusual(node);
  // The bounds are numbers in the model's code, which would not move along.
  f.keep(x, "cut at fixed places by " + f.node(node).name);
  const auto begin = x.ids.begin();
  return {{begin + f.number(node, "begin"), begin + f.number(node, "end")}, 1};
}

List pad(Flow& f, int node) {
  const List& x = f.in(node);
  if (f.number(node, "axis") < f.node(node).shape.dims() - x.axes) return x;
  if (x.axes != 1) return f.unusual(node);
  const std::string because = "padding by " + f.node(node).name;
  List y = f.make_kept(f.number(node, "before"), because);
  y.ids.insert(y.ids.end(), x.ids.begin(), x.ids.end());
  const List after = f.make_kept(f.number(node, "after"), because);
  y.ids.insert(y.ids.end(), after.ids.begin(), after.ids.end());
  return y;
}

// y[k groups + g] = x[g each + k]
List channel_shuffle(Flow& f, int node) {
  const List& x = f.in(node);
  const int64_t groups = f.number(node, "groups"), each = x.size() / groups;
  if (x.axes != 1) return f.unusual(node);
  List y;
  for (int64_t i = 0; i < x.size(); ++i) {
    y.ids.push_back(x.ids[static_cast<size_t>(i % groups * each + i / groups)]);
  }
  f.blocks(node, x, groups);
  return y;
}

}  // namespace

const ChannelRules& shape_rules() {
  static const ChannelRules all = {
      {"flatten", flatten},
      {"reshape", reshape},
      {"permute", permute},
      {"concat", concat},
      {"slice", slice},
      {"pad", pad},
      {"channel_shuffle", channel_shuffle},
  };
  return all;
}

}  // namespace pare::nn
