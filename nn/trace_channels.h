#pragma once
// Which channels live and die together. A rule per op follows channels through the graph: a
// convolution makes new ones, an activation passes them on, an addition ties those of its operands,
// a concatenation puts them side by side, and so on. What must be removed together is one unit.

#include <string>
#include <vector>

#include "nn/trace.h"

namespace pare::nn {

struct Channels {
  enum class Role {
    out,   // of a filter: the channel is made here
    each,  // one number or one depthwise filter per channel: biases, batch norm
    in     // of what a filter sees: the channel is read here
  };

  /// One axis of a parameter or buffer whose indices are channels.
  struct Axis {
    int tensor = Graph::kNone;  // its node
    int axis = 0;
    Role role = Role::each;
    /// > 1: the axis counts within a group of a convolution. Units then hold the channels of all
    /// groups one after the other, and index i of group g belongs to unit [g size + i].
    int groups = 1;
    std::vector<int> users = {};  // nodes that use the tensor so
    std::vector<int> units = {};  // by index
  };

  /// Units made by the same filters: what is one layer to a pruning plan.
  struct Group {
    std::vector<int> units = {};    // ascending
    std::vector<int> makers = {};   // nodes whose filters make them, ascending; none: given
    std::string kept_because = {};  // why none may be removed; empty: they may
  };

  /// The groups of a convolution, or of a shuffle, hold equally many channels each: what is kept
  /// must be as many in every block, and stay in its block.
  struct Blocks {
    int node = Graph::kNone;
    std::vector<std::vector<int>> units = {};  // by block
  };

  int units = 0;
  std::vector<Axis> axes = {};
  std::vector<Group> groups = {};
  std::vector<int> group_of = {};  // by unit
  std::vector<Blocks> blocks = {};
  /// Units of a value's channels by node; empty for tensors. They belong to the last axis, or where
  /// a value was reshaped to the elements of its last axes.
  std::vector<std::vector<int>> of = {};

  bool removable(int unit) const;
};

/// Channels of the input and the output are kept, and those that pass an op without a rule.
Channels channels(const Graph& graph);

/// A line per group: its channels, who makes them, who else holds them, who reads them.
std::string table(const Graph& graph, const Channels& channels);

}  // namespace pare::nn
