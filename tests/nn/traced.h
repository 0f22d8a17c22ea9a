#pragma once
// A traced model and its channels, ready to be asked about.

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "nn/layers.h"
#include "nn/trace_channels.h"

namespace pare::test {

inline Tensor image(int64_t channels = 3) { return Tensor::ones({1, 8, 8, channels}); }

inline nn::Layer conv(int64_t in, int64_t out, int groups = 1) {
  return nn::Conv2d({.in = in, .out = out, .kernel = 3, .pad = 1, .groups = groups, .bias = false});
}

struct Traced {
  nn::Graph graph;
  nn::Channels channels;

  Traced(nn::Layer net, const Tensor& x)
      : graph(nn::trace(net, x)), channels(nn::channels(graph)) {}

  /// Units of the channels of a value.
  const std::vector<int>& of(const std::string& name) const {
    return channels.of[static_cast<size_t>(graph.find(name))];
  }
  const nn::Channels::Axis& axis(const std::string& tensor, int axis) const {
    for (const nn::Channels::Axis& a : channels.axes) {
      if (graph[a.tensor].name == tensor && a.axis == axis) return a;
    }
    throw Error("no axis " + tensor);
  }
  bool has_axis(const std::string& tensor, int which) const {
    return std::any_of(channels.axes.begin(), channels.axes.end(), [&](const auto& a) {
      return graph[a.tensor].name == tensor && a.axis == which;
    });
  }
  /// "4: a b" for the removable groups: how many channels, made where.
  std::vector<std::string> removable() const {
    std::vector<std::string> lines;
    for (const nn::Channels::Group& g : channels.groups) {
      if (!g.kept_because.empty()) continue;
      std::string line = std::to_string(g.units.size()) + ":";
      std::set<std::string> makers;  // operands of one sum may run in any order
      for (int i : g.makers) makers.insert(graph[i].name);
      for (const std::string& name : makers) line += " " + name;
      lines.push_back(line);
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  std::string why_kept(const std::string& value) const {
    const int unit = of(value).at(0);
    return channels.groups[static_cast<size_t>(channels.group_of[static_cast<size_t>(unit)])]
        .kept_because;
  }
};

using Lines = std::vector<std::string>;
using Units = std::vector<int>;

inline Units part(const Units& u, size_t begin, size_t end) {
  return {u.begin() + static_cast<std::ptrdiff_t>(begin),
          u.begin() + static_cast<std::ptrdiff_t>(end)};
}

inline Units joined(std::initializer_list<Units> parts) {
  Units all;
  for (const Units& p : parts) all.insert(all.end(), p.begin(), p.end());
  return all;
}

}  // namespace pare::test
