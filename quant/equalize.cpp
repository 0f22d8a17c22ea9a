#include "quant/equalize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>

#include "nn/layers.h"
#include "nn/text.h"
#include "nn/trace.h"

namespace pare::quant {

namespace {

using nn::Graph;

constexpr int kMostSweeps = 40;
constexpr double kSettled = 1.001;  // ranges within a thousandth of each other
/// Of the largest range: a channel below is dead, and scaling it up would blow up its bias.
constexpr float kDead = 1e-6f;

/// A convolution [out, kh, kw, in/groups] or a linear layer [out, in]; shares the model's values.
struct Target {
  std::string path;
  Tensor weight, bias;
  int64_t groups = 1;

  int64_t out() const { return weight.dim(0); }
  int64_t in() const { return weight.dim(-1) * groups; }
  /// f(w) for every weight of a filter.
  template <class F>
  void for_each_of_filter(int64_t filter, F&& f) {
    const int64_t each = weight.numel() / out();
    float* w = weight.data() + filter * each;
    for (int64_t i = 0; i < each; ++i) f(w[i]);
  }
  /// f(w) for every weight that meets an input channel.
  template <class F>
  void for_each_of_input(int64_t channel, F&& f) {
    const int64_t columns = weight.dim(-1), filters = out() / groups;
    const int64_t pixels = weight.numel() / out() / columns, group = channel / columns;
    float* w = weight.data() + group * filters * pixels * columns + channel % columns;
    for (int64_t i = 0; i < filters * pixels; ++i) f(w[i * columns]);
  }
};

std::optional<Target> target_of(const Graph::Node& n) {
  if (auto* c = n.as<nn::Conv2d>(); c && n.op == "conv2d") {
    return Target{n.path, c->weight, c->bias, c->opt.groups};
  }
  if (auto* l = n.as<nn::Linear>(); l && n.op == "linear") {
    return Target{n.path, l->weight, l->bias};
  }
  return {};
}

/// Why a layer's weights cannot be scaled; empty if they can.
std::string obstacle_at(const Graph& g, int node) {
  const Graph::Node& n = g[node];
  const auto* conv = n.as<nn::Conv2d>();
  const auto* linear = n.as<nn::Linear>();
  if (conv ? conv->weight_fn || conv->input_fn : linear->weight_fn || linear->input_fn) {
    return n.path + " is quantized already";
  }
  const auto uses = std::count_if(g.nodes.begin(), g.nodes.end(), [&](const Graph::Node& other) {
    return other.module == n.module && other.op == n.op;
  });
  if (uses > 1) return n.path + " is used twice";
  const float* values = (conv ? conv->weight : linear->weight).data();
  for (const Graph::Node& t : g.nodes) {
    if (t.is_tensor() && t.tensor.data() == values && t.users.size() > 1) {
      return n.path + " shares its weight";
    }
  }
  return {};
}

/// The channels of a layer on their way to the one that reads them.
struct Chain {
  std::vector<int64_t> source = {};  // by channel of the value at hand: the filter that made it
  int reader = Graph::kNone;
  std::string obstacle = {};
};

/// Follows channels through an op; false if it does not scale along.
bool pass(const Graph& g, int op, std::vector<int64_t>& source) {
  static const std::set<std::string> kUnchanged = {"relu", "leaky_relu", "abs", "max_pool2d",
                                                   "avg_pool2d"};
  const Graph::Node& n = g[op];
  const Shape& before = g[g.input_of(op, 0)].shape;
  const auto channels = static_cast<int64_t>(source.size());
  const int64_t pixels = before.numel() / before.dim(0) / channels;
  const bool pooled = n.op == "mean" && n.shape == Shape{before.dim(0), 1, 1, channels};
  if (kUnchanged.count(n.op) || pooled) return true;
  if (n.op == "flatten") {  // y[c pixels + p] = x[p, c]
    std::vector<int64_t> flat;
    for (const int64_t s : source) flat.insert(flat.end(), static_cast<size_t>(pixels), s);
    source = flat;
    return true;
  }
  if (n.op == "reshape") return pixels == 1 && n.shape == Shape{before.dim(0), channels};
  if (n.op == "channel_shuffle") {  // y[k groups + g] = x[g each + k]
    const int64_t groups = n.get<int64_t>("groups"), each = channels / groups;
    const std::vector<int64_t> old = source;
    for (int64_t i = 0; i < channels; ++i) {
      source[static_cast<size_t>(i)] = old[static_cast<size_t>(i % groups * each + i / groups)];
    }
    return true;
  }
  return false;
}

/// One step along the chain, from `at`; returns where it leads.
int step(const Graph& g, int at, Chain& chain) {
  const Graph::Node& n = g[at];
  if (at == g.output || n.users.size() != 1) {
    chain.obstacle = n.name + (at == g.output ? " is the output" : " has several readers");
    return at;
  }
  const int next = n.users[0];
  const std::string what = g[next].name + " (" + g[next].op + ")";
  if (target_of(g[next]) && g.input_of(next, 0) == at) {
    chain.obstacle = obstacle_at(g, next);
    chain.reader = next;
  } else if (g[next].op == "batch_norm") {
    chain.obstacle = what + " is in between: fold it first";
  } else if (!pass(g, next, chain.source)) {
    chain.obstacle = what + " does not scale along with each of its channels";
  }
  return next;
}

Chain follow(const Graph& g, int maker) {
  Chain chain;
  chain.obstacle = obstacle_at(g, maker);
  chain.source.resize(static_cast<size_t>(target_of(g[maker])->out()));
  std::iota(chain.source.begin(), chain.source.end(), int64_t{0});
  for (int at = maker; chain.obstacle.empty() && chain.reader == Graph::kNone;) {
    at = step(g, at, chain);
  }
  return chain;
}

float larger(float a, float b) { return std::max(a, std::fabs(b)); }

/// Two layers that share channels.
struct Pair {
  Target first, second;
  std::vector<int64_t> source;  // by input channel of the second: the filter of the first

  struct Ranges {
    std::vector<float> first, second;  // by channel
  };
  Ranges ranges() {
    Ranges r{std::vector<float>(static_cast<size_t>(first.out())),
             std::vector<float>(static_cast<size_t>(first.out()))};
    for (int64_t i = 0; i < first.out(); ++i) {
      float& range = r.first[static_cast<size_t>(i)];
      first.for_each_of_filter(i, [&](float w) { range = larger(range, w); });
    }
    for (int64_t j = 0; j < second.in(); ++j) {
      float& range = r.second[static_cast<size_t>(source[static_cast<size_t>(j)])];
      second.for_each_of_input(j, [&](float w) { range = larger(range, w); });
    }
    return r;
  }

  /// s_i; 1 for dead channels.
  std::vector<float> scales() {
    const Ranges r = ranges();
    const float least_first = kDead * *std::max_element(r.first.begin(), r.first.end());
    const float least_second = kDead * *std::max_element(r.second.begin(), r.second.end());
    std::vector<float> scale(r.first.size(), 1.0f);
    for (size_t i = 0; i < scale.size(); ++i) {
      if (!(r.first[i] > least_first && r.second[i] > least_second)) continue;
      scale[i] = std::sqrt(r.first[i] / r.second[i]);
    }
    return scale;
  }

  /// The largest ratio between the two ranges of a channel.
  double imbalance() {
    double most = 1;
    for (const float s : scales()) {
      const double ratio = double{s} * s;
      most = std::max({most, ratio, 1 / ratio});
    }
    return most;
  }

  void equalize() {
    const std::vector<float> scale = scales();
    for (int64_t i = 0; i < first.out(); ++i) {
      const float s = scale[static_cast<size_t>(i)];
      first.for_each_of_filter(i, [s](float& w) { w /= s; });
      if (first.bias) first.bias.data()[i] /= s;
    }
    for (int64_t j = 0; j < second.in(); ++j) {
      const float s = scale[static_cast<size_t>(source[static_cast<size_t>(j)])];
      second.for_each_of_input(j, [s](float& w) { w *= s; });
    }
  }
};

}  // namespace

EqualizeReport equalize(nn::Layer& model, const Tensor& example) {
  PARE_CHECK(model, "equalize: the model is empty");
  const Graph graph = nn::trace(model, example);
  EqualizeReport report;
  std::vector<Pair> pairs;
  std::vector<size_t> row_of;
  for (int i = 0; i < graph.size(); ++i) {
    const auto first = target_of(graph[i]);
    if (!first) continue;
    const Chain chain = follow(graph, i);
    EqualizeReport::Row row{.first = first->path, .channels = first->out()};
    row.stayed_because = chain.obstacle;
    if (chain.obstacle.empty()) {
      pairs.push_back({*first, *target_of(graph[chain.reader]), chain.source});
      row_of.push_back(report.rows.size());
      row.second = graph[chain.reader].path;
      row.before = pairs.back().imbalance();
    }
    report.rows.push_back(row);
  }
  const auto settled = [](Pair& pair) { return pair.imbalance() < kSettled; };
  while (!std::all_of(pairs.begin(), pairs.end(), settled) && report.sweeps < kMostSweeps) {
    for (Pair& pair : pairs) pair.equalize();
    ++report.sweeps;
  }
  for (size_t i = 0; i < pairs.size(); ++i) report.rows[row_of[i]].after = pairs[i].imbalance();
  return report;
}

int64_t EqualizeReport::equalized() const {
  return std::count_if(rows.begin(), rows.end(), [](const Row& r) { return !r.second.empty(); });
}

std::ostream& operator<<(std::ostream& out, const EqualizeReport& report) {
  std::vector<std::vector<std::string>> lines{
      {"layer", "channels", "equalized with", "ranges apart", "after"}};
  for (const EqualizeReport::Row& r : report.rows) {
    if (r.second.empty()) {
      lines.push_back({r.first, std::to_string(r.channels), "-", "stays: " + r.stayed_because, ""});
    } else {
      lines.push_back({r.first, std::to_string(r.channels), r.second,
                       fmt::format("{:.2f} x", r.before), fmt::format("{:.2f} x", r.after)});
    }
  }
  return out << nn::columns(lines);
}

}  // namespace pare::quant
