#include "quant/fold_bn.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "core/autograd.h"
#include "nn/layers.h"
#include "nn/text.h"
#include "nn/trace.h"

namespace pare::quant {

namespace {

using nn::Graph;

/// Larger than any sum a filter comes to, small enough to stay finite when that is added.
constexpr float kBeyondAnySum = 1e30f;

/// The fields of a layer that folding changes.
struct Target {
  Tensor& weight;
  Tensor& bias;
  bool& has_bias;
  const nn::Layer& weight_fn;
  int64_t out;
  int groups = 1;
  bool transposed = false;  // weight [in, kh, kw, out/groups]: filters along the last axis

  /// The output channel of the weight at this place in memory.
  int64_t channel(int64_t at) const {
    if (!transposed) return at / (weight.numel() / out);
    const int64_t each = out / groups, rows = weight.dim(0) / groups;
    const int64_t row = at / (weight.numel() / weight.dim(0));
    return row / rows * each + at % each;
  }
};

std::optional<Target> target_of(const Graph::Node& layer) {
  if (auto* c = layer.as<nn::Conv2d>(); c && layer.op == "conv2d") {
    return Target{c->weight, c->bias, c->opt.bias, c->weight_fn, c->opt.out};
  }
  if (auto* c = layer.as<nn::ConvTranspose2d>(); c && layer.op == "conv_transpose2d") {
    return Target{c->weight, c->bias, c->opt.bias, c->weight_fn, c->opt.out, c->opt.groups, true};
  }
  if (auto* l = layer.as<nn::Linear>(); l && layer.op == "linear") {
    return Target{l->weight, l->bias, l->opt.bias, l->weight_fn, l->opt.out};
  }
  return {};
}

/// Whether all that becomes of a value is a sign, with nothing in between that minds a positive
/// factor on each channel.
bool only_signs(const Graph& g, int value) {
  static const std::set<std::string> kHomogeneous = {
      "max_pool2d", "avg_pool2d", "relu",   "leaky_relu", "channel_shuffle",
      "flatten",    "reshape",    "concat", "slice",      "dropout"};
  const Graph::Node& n = g[value];
  if (value == g.output) return false;
  return std::all_of(n.users.begin(), n.users.end(), [&](int user) {
    return g[user].op == "sign" || (kHomogeneous.count(g[user].op) > 0 && only_signs(g, user));
  });
}

/// bn(y) = a y + c by channel, in double.
struct Affine {
  std::vector<double> a, c;

  explicit Affine(const nn::BatchNorm2d& bn) {
    for (int64_t i = 0; i < bn.running_mean.numel(); ++i) {
      const double gamma = bn.weight ? bn.weight.data()[i] : 1.0;
      const double beta = bn.bias ? bn.bias.data()[i] : 0.0;
      a.push_back(gamma / std::sqrt(double{bn.running_var.data()[i]} + bn.opt.eps));
      c.push_back(beta - a.back() * bn.running_mean.data()[i]);
    }
  }
};

/// What a fold makes of a layer, before it is put in.
struct Folded {
  std::vector<float> factor;  // of each filter
  Tensor weight, bias;
};

Folded fold(const Target& t, const Affine& bn, FoldRule rule) {
  Folded f{{}, t.weight.clone(), Tensor::uninit({t.out})};
  for (int64_t o = 0; o < t.out; ++o) {
    const double a = bn.a[static_cast<size_t>(o)], c = bn.c[static_cast<size_t>(o)];
    const double b = t.bias ? t.bias.data()[o] : 0.0;
    double factor = a, bias = a * b + c;
    if (rule == FoldRule::sign && a != 0) {
      factor = a < 0 ? -1 : 1;
      bias = std::clamp<double>(factor * b + c / std::fabs(a), -kBeyondAnySum, kBeyondAnySum);
    } else if (rule == FoldRule::sign && t.weight_fn) {
      // A zero weight need not be a zero to its quantizer, so the filter stays and is outvoted.
      factor = 1;
      bias = c < 0 ? -kBeyondAnySum : kBeyondAnySum;
    } else if (rule == FoldRule::sign && c == 0) {
      bias = 1;  // sign(0) = +1, but a threshold at 0 is easily missed
    }
    f.factor.push_back(static_cast<float>(factor));
    f.bias.data()[o] = static_cast<float>(bias);
  }
  for (int64_t i = 0; i < f.weight.numel(); ++i) {
    f.weight.data()[i] *= f.factor[static_cast<size_t>(t.channel(i))];
  }
  return f;
}

/// Whether the quantized new weight is the factor times the quantized old one.
bool quantizes_alike(const Target& t, const Folded& f) {
  if (!t.weight_fn) return true;
  constexpr float kRounding = 1e-5f;  // of scales that are sums over a filter
  const NoGrad guard;
  const Tensor before = t.weight_fn(t.weight), after = t.weight_fn(f.weight);
  for (int64_t i = 0; i < before.numel(); ++i) {
    const float want = before.data()[i] * f.factor[static_cast<size_t>(t.channel(i))];
    if (!(std::fabs(after.data()[i] - want) <= kRounding * std::fabs(want))) return false;
  }
  return true;
}

class Folder {
 public:
  Folder(nn::Layer& model, const Tensor& example) : graph_(nn::trace(model, example)) {}

  FoldReport run() {
    for (int i = 0; i < graph_.size(); ++i) {
      if (graph_[i].op == "batch_norm") report_.rows.push_back(fold_one(i));
    }
    return std::move(report_);
  }

 private:
  FoldReport::Row fold_one(int norm) {
    const Graph::Node& n = graph_[norm];
    FoldReport::Row row{.norm = n.path, .channels = n.shape.dim(-1)};
    const int source = graph_.input_of(norm, 0);
    row.stayed_because = obstacle(norm, source);
    if (!row.stayed_because.empty()) return row;
    const Target target = *target_of(graph_[source]);
    const Affine bn(*n.as<nn::BatchNorm2d>());
    row.rule = only_signs(graph_, norm) ? FoldRule::sign : FoldRule::scale;
    const Folded f = fold(target, bn, row.rule);
    if (!quantizes_alike(target, f)) {
      row.stayed_because = target.weight_fn->describe() + " does not scale along with its weight";
      return row;
    }
    put(target, f);
    row.into = graph_[source].path;
    if (row.rule == FoldRule::sign) {
      row.negated = std::count_if(bn.a.begin(), bn.a.end(), [](double a) { return a < 0; });
      row.constant = std::count(bn.a.begin(), bn.a.end(), 0.0);
    }
    return row;
  }

  /// Why a batch norm cannot be folded; empty if nothing is in the way.
  std::string obstacle(int norm, int source) const {
    const Graph::Node &n = graph_[norm], &layer = graph_[source];
    if (!n.as<nn::BatchNorm2d>()) return "is not a module of its own";
    if (uses_of(n.module, n.op) > 1) return "is used twice";
    if (!target_of(layer)) return "follows " + layer.name + " (" + layer.op + ")";
    if (layer.users.size() > 1 || source == graph_.output) {
      const int other = layer.users[0] == norm ? layer.users.back() : layer.users[0];
      return layer.name + " is also read by " + (other == norm ? "the output" : graph_[other].name);
    }
    if (uses_of(layer.module, layer.op) > 1) return layer.path + " is used twice";
    for (const Graph::Node& t : graph_.nodes) {
      const bool own = t.is_tensor() && t.tensor.data() == target_of(layer)->weight.data();
      if (own && t.users.size() > 1) return layer.path + " shares its weight";
    }
    return {};
  }

  int64_t uses_of(const nn::Module* module, const std::string& op) const {
    return std::count_if(graph_.nodes.begin(), graph_.nodes.end(),
                         [&](const Graph::Node& n) { return n.module == module && n.op == op; });
  }

  static void put(const Target& t, const Folded& f) {
    t.weight.copy_(f.weight);
    if (!t.bias) t.bias = Tensor::uninit({t.out}).requires_grad_(t.weight.requires_grad());
    t.bias.copy_(f.bias);
    t.has_bias = true;
  }

  Graph graph_;
  FoldReport report_;
};

}  // namespace

FoldReport fold_bn(nn::Layer& model, const Tensor& example) {
  PARE_CHECK(model, "fold_bn: the model is empty");
  FoldReport report;
  {
    const nn::EvalMode eval(model);  // quantizers: nothing in a stored weight changes by itself
    report = Folder(model, example).run();
  }
  std::set<std::string> gone;
  for (const FoldReport::Row& row : report.rows) {
    if (row.folded()) gone.insert(row.norm);
  }
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    if (gone.count(path)) layer = {};
  });
  return report;
}

int64_t FoldReport::folded() const {
  return std::count_if(rows.begin(), rows.end(), [](const Row& r) { return r.folded(); });
}

std::ostream& operator<<(std::ostream& out, const FoldReport& report) {
  std::vector<std::vector<std::string>> lines{{"batch norm", "channels", "folded into", "rule"}};
  for (const FoldReport::Row& r : report.rows) {
    std::string rule = r.rule == FoldRule::sign ? "sign" : "scale";
    if (r.negated > 0) rule += str(", ", r.negated, " negated");
    if (r.constant > 0) rule += str(", ", r.constant, " constant");
    lines.push_back({r.norm, std::to_string(r.channels), r.folded() ? r.into : "-",
                     r.folded() ? rule : "stays: " + r.stayed_because});
  }
  return out << nn::columns(lines);
}

}  // namespace pare::quant
