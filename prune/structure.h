#pragma once
// A model as pruning sees it: which channels live and die together (a unit), which units the same
// filters make (a group, one line of a plan), and what they cost.

#include <map>
#include <string>
#include <vector>

#include "nn/trace_channels.h"

namespace pare::prune {

/// Whether each unit stays.
using Keep = std::vector<bool>;

struct Structure {
  /// The model must outlive it.
  Structure(nn::Layer& model, const Tensor& example);

  nn::Graph graph;
  nn::Channels channels;
  /// By group: the first layer that makes its channels, told apart by a number where two groups
  /// begin in one layer. Empty: no layer makes them.
  std::vector<std::string> names;
  /// Bits of each number when stored, of parameters and buffers that do not take 32.
  std::map<std::string, double> bits;

  int groups() const { return static_cast<int>(channels.groups.size()); }
  const nn::Channels::Group& group(int g) const { return channels.groups[static_cast<size_t>(g)]; }
  const std::string& name(int g) const { return names[static_cast<size_t>(g)]; }
  int group_of(int unit) const { return channels.group_of[static_cast<size_t>(unit)]; }
  /// The group of that name, or -1.
  int find(const std::string& name) const;
  /// "layer1.0.conv2, layer1.1.conv2": the other layers that make channels of the group.
  std::string tied(int g) const;
  Keep keep_all() const { return Keep(static_cast<size_t>(channels.units), true); }
};

}  // namespace pare::prune
