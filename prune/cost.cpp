#include "prune/cost.h"

#include <algorithm>

namespace pare::prune {

using nn::Channels, nn::Graph;

Cost operator-(const Cost& a, const Cost& b) {
  return {a.params - b.params, a.macs - b.macs, a.activations - b.activations, a.bytes - b.bytes,
          a.seconds - b.seconds};
}

CostModel::CostModel(const Structure& structure) : structure_(structure) {
  for (const Channels::Axis& a : structure.channels.axes) {
    axes_.push_back(a.units);
    groups_.push_back(a.groups);
  }
  add_parameters();
  for (int i = 0; i < structure.graph.size(); ++i) add_op(i);
}

namespace {

constexpr double kFloatBits = 32;

double product(const Shape& shape) { return static_cast<double>(shape.numel()); }

/// The numbers of a tensor that its channel axes do not count.
struct Rest {
  double numbers;
  std::vector<size_t> axes;
};

Rest rest_of(const Structure& s, int tensor) {
  Rest rest{product(s.graph[tensor].shape), {}};
  for (size_t a = 0; a < s.channels.axes.size(); ++a) {
    const Channels::Axis& axis = s.channels.axes[a];
    if (axis.tensor != tensor) continue;
    rest.numbers /= static_cast<double>(s.graph[tensor].shape.dim(axis.axis));
    rest.axes.push_back(a);
  }
  return rest;
}

/// The parameter that is the weight of a layer, behind transforms or not.
int weight_of(const Structure& s, int node) {
  const int argument = s.graph.input_of(node, 1);
  if (argument == Graph::kNone || s.graph[argument].is_tensor()) return argument;
  for (const Channels::Axis& a : s.channels.axes) {
    const bool here = std::find(a.users.begin(), a.users.end(), node) != a.users.end();
    if (here && s.graph[a.tensor].shape == s.graph[argument].shape) return a.tensor;
  }
  return argument;
}

}  // namespace

void CostModel::add_parameters() {
  for (int i = 0; i < structure_.graph.size(); ++i) {
    const Graph::Node& n = structure_.graph[i];
    const bool parameter = n.op == Graph::kParameter;
    if (!parameter && n.op != Graph::kBuffer) continue;
    const auto known = structure_.bits.find(n.name);
    const double bits = known == structure_.bits.end() ? kFloatBits : known->second;
    const Rest rest = rest_of(structure_, i);
    volumes_.push_back({.params = parameter ? rest.numbers : 0,
                        .bytes = rest.numbers * bits / 8,
                        .axes = rest.axes});
  }
}

void CostModel::add_op(int node) {
  const Graph& g = structure_.graph;
  const Graph::Node& n = g[node];
  const bool transposed = n.op == "conv_transpose2d";
  if (!transposed && n.op != "conv2d" && n.op != "linear") return;
  const auto positions = [](const Shape& s) { return product(s) / double(s.dim(0) * s.dim(-1)); };
  const double out = positions(n.shape);
  const double met = transposed ? positions(g[g.input_of(node, 0)].shape) : out;
  const Rest weight = rest_of(structure_, weight_of(structure_, node));
  volumes_.push_back({.macs = met * weight.numbers, .axes = weight.axes});
  axes_.push_back(structure_.channels.of[static_cast<size_t>(node)]);
  groups_.push_back(1);
  volumes_.push_back({.activations = out, .axes = {axes_.size() - 1}});
}

Cost CostModel::cost(const std::vector<double>& lengths) const {
  Cost sum;
  for (const Volume& v : volumes_) {
    double times = 1;
    for (size_t a : v.axes) times *= lengths[a] / groups_[a];
    sum.params += v.params * times;
    sum.macs += v.macs * times;
    sum.activations += v.activations * times;
    sum.bytes += v.bytes * times;
  }
  return sum;
}

Cost CostModel::operator()(const Keep& keep) const {
  std::vector<double> lengths;
  for (const std::vector<int>& units : axes_) {
    lengths.push_back(static_cast<double>(std::count_if(
        units.begin(), units.end(), [&](int u) { return keep[static_cast<size_t>(u)]; })));
  }
  return cost(lengths);
}

std::vector<Cost> CostModel::per_unit() const {
  const Cost all = (*this)(structure_.keep_all());
  std::vector<Cost> costs;
  for (const Channels::Group& group : structure_.channels.groups) {
    Keep keep = structure_.keep_all();
    keep[static_cast<size_t>(group.units.front())] = false;
    costs.push_back(all - (*this)(keep));
  }
  return costs;
}

}  // namespace pare::prune
