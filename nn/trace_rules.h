#pragma once
// How channels pass an op. For trace_channels.cpp.

#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "nn/trace_channels.h"

namespace pare::nn {

/// The channels of a value, as numbers: those of its last axis, or where a reshape cut or joined
/// axes, of the elements of the last `axes` ones in their order in memory.
struct ChannelList {
  std::vector<int> ids = {};
  int axes = 1;

  int64_t size() const { return static_cast<int64_t>(ids.size()); }
};

/// Channels on their way through a graph. Rules say with it what an op does to them.
class ChannelFlow {
 public:
  explicit ChannelFlow(const Graph& graph);

  const Graph& graph() const { return graph_; }
  const Graph::Node& node(int i) const { return graph_[i]; }
  /// Computed from parameters and constants alone: it has no channels of its own.
  bool is_static(int value) const { return static_[static_cast<size_t>(value)]; }
  const ChannelList& of(int value) const { return lists_[static_cast<size_t>(value)]; }
  int arg(int node, size_t position) const { return graph_.input_of(node, position); }
  const ChannelList& in(int node) const { return of(arg(node, 0)); }
  int64_t number(int node, const char* attribute) const {
    return graph_[node].get<int64_t>(attribute);
  }

  ChannelList make(int64_t count);
  /// New ones that are never removed.
  ChannelList make_kept(int64_t count, const std::string& because);
  void keep(const ChannelList& list, const std::string& because);
  /// a[i] goes with b[i].
  void tie(const ChannelList& a, const ChannelList& b);
  /// The list is `count` runs of equal length.
  void blocks(int node, const ChannelList& list, int64_t count);

  struct Hold {
    int value;  // a static value: the axis is one of the tensors that it is computed from
    int axis;
    Channels::Role role;
    int groups = 1;
  };
  /// The indices of this axis are the channels of the list.
  void hold(const Hold& hold, const ChannelList& list, int user);
  /// Nothing is known about what the op does: its channels and parameters stay.
  ChannelList unknown(int node, const std::string& because);
  ChannelList unusual(int node) {
    return unknown(node, "operands of " + graph_[node].name + " that no rule covers");
  }

  Channels finish();

 private:
  struct Kept {
    int id;
    std::string because;
  };
  struct Cut {
    int node;
    ChannelList list;
    int64_t count;
  };
  struct AxisList {
    Channels::Axis axis;  // units are filled in the end
    ChannelList list;
  };

  int find(int id);
  std::vector<int> tensors_behind(int value) const;
  void hold_tensor(int tensor, int axis, const Hold& hold, const ChannelList& list, int user);
  void number_units(Channels& out);
  void group_units(Channels& out);
  std::vector<int> units_of(const ChannelList& list);

  const Graph& graph_;
  std::vector<bool> static_;
  std::vector<ChannelList> lists_;  // by node
  std::vector<int> parent_;         // union-find over channel numbers
  std::vector<int> unit_;           // by channel number, in the end
  std::vector<Kept> kept_;
  std::vector<Cut> cuts_;
  std::map<int, std::string> frozen_;              // tensors used where no rule knows how
  std::map<std::pair<int, int>, size_t> axis_at_;  // by tensor and axis
  std::vector<AxisList> axes_;
};

/// What the op of a node does to channels: its result's list.
using ChannelRule = ChannelList (*)(ChannelFlow& flow, int node);
using ChannelRules = std::unordered_map<std::string, ChannelRule>;
/// Of ops that move channels about.
const ChannelRules& shape_rules();
/// The rule for a node; never null.
ChannelRule channel_rule(const Graph::Node& node);

}  // namespace pare::nn
