#include "quant/placement.h"

#include <algorithm>
#include <map>
#include <set>

#include "nn/glob.h"
#include "nn/text.h"
#include "nn/trace.h"
#include "quant/placement_slots.h"
#include "quant/quantizer.h"

namespace pare::quant {

namespace {

using nn::Graph;
using Kind = Plan::Kind;
constexpr int kNone = Graph::kNone;

bool one_of(const std::set<std::string>& ops, const std::string& op) { return ops.count(op) > 0; }

/// Nonlinearities, which an integer kernel applies to what it has just summed up.
bool is_activation(const std::string& op) {
  static const std::set<std::string> kOps = {"relu", "leaky_relu", "relu6",   "hard_swish",
                                             "silu", "gelu",       "sigmoid", "tanh"};
  return one_of(kOps, op);
}

bool passes(const std::string& op) {
  static const std::set<std::string> kOps = {"max_pool2d", "flatten", "reshape",
                                             "permute",    "slice",   "transpose",
                                             "concat",     "pad",     "channel_shuffle"};
  return one_of(kOps, op);
}

/// Reads values that are quantized if nothing is computed along with it.
bool reads_values(const std::string& op) {
  static const std::set<std::string> kOps = {"avg_pool2d", "mean", "batch_norm", "layer_norm",
                                             "softmax"};
  return one_of(kOps, op) || is_activation(op);
}

/// Makes sums in registers, before they are stored.
bool is_head(const std::string& op) {
  static const std::set<std::string> kOps = {"conv2d", "conv_transpose2d", "linear", "add"};
  return one_of(kOps, op);
}

std::string underscored(std::string text) {
  std::replace(text.begin(), text.end(), '.', '_');
  return text;
}

class Planner {
 public:
  Planner(nn::Layer& model, const Tensor& example, const PlacementRules& rules)
      : rules_(rules),
        layers_(layers(model)),
        graph_(nn::trace(model, example)),
        slots_(model, example) {
    for (const LayerInfo& info : layers_) by_path_[info.path] = &info;
  }

  Plan run() {
    check_patterns();
    for (int i = 0; i < graph_.size(); ++i) {
      if (!graph_[i].is_tensor() && i != graph_.input) add(i);
    }
    return std::move(plan_);
  }

 private:
  void add(int i) {
    const Graph::Node& n = graph_[i];
    if (const auto info = by_path_.find(n.path);
        info != by_path_.end() && (n.op == "conv2d" || n.op == "linear")) {
      return add_layer(i, *info->second);
    }
    if (passes(n.op)) return add_row(i, value_of(i, 0), Kind::passes, "only moves values");
    if (n.op == "add") return add_sum(i);
    if (!reads_values(n.op)) {
      return add_row(i, value_of(i, 0), Kind::stays, "there is no rule for " + n.op);
    }
    const int head = rules_.chains ? head_of(i) : kNone;
    if (head != kNone) {
      return add_row(i, value_of(i, 0), Kind::follows, "computed along with " + graph_[head].name);
    }
    add_value(i, 0);
  }

  void add_layer(int i, const LayerInfo& info) {
    const Graph::Node& n = graph_[i];
    const std::string value = value_of(i, 0);
    std::string why = skipped(n);
    if (!placed_.insert(info.path).second) why = "runs twice: its quantizers are there already";
    for (const Role role : {Role::weight, Role::activation}) {
      const bool weight = role == Role::weight;
      const std::string what = weight ? "weight" : value;
      const auto spec = why.empty() ? rules_.spec(role, info.path, &info) : std::nullopt;
      if (!spec) {
        add_row(i, what, Kind::stays, why.empty() ? "not asked for" : why);
        continue;
      }
      add_row(i, what, Kind::quantized, {});
      plan_.rows.back().placement =
          Placement{info.path, weight ? Socket::weight : Socket::input, checked(*spec)};
    }
  }

  void add_sum(int i) {
    const std::vector<int>& operands = graph_[i].inputs;
    if (!rules_.sums) {
      return add_row(i, value_of(i, 0), Kind::stays, "operands of sums are not asked for");
    }
    for (size_t k = 0; k < operands.size(); ++k) add_value(i, k);
  }

  /// A value that is read by something without sockets.
  void add_value(int i, size_t operand) {
    const Graph::Node& n = graph_[i];
    const std::string value = value_of(i, operand);
    const std::string why = skipped(n);
    const auto spec = why.empty() ? rules_.spec(Role::activation, n.name, nullptr) : std::nullopt;
    if (!spec) return add_row(i, value, Kind::stays, why.empty() ? "not asked for" : why);
    const auto slot = slots_.of(graph_, i, operand);
    if (!slot) {
      return add_row(i, value, Kind::stays, "no module hands this value to " + n.name + " alone");
    }
    add_row(i, value, Kind::quantized, {});
    const int from = graph_.input_of(i, operand);
    plan_.rows.back().placement =
        Placement{slot->path, slot->socket, checked(*spec), graph_[from].shape.dim(-1)};
  }

  /// What a batch norm or a nonlinearity is computed along with: what it reads, if nobody else
  /// does, through ops that only move values. A batch norm follows a convolution or linear layer.
  int head_of(int i) const {
    const Graph::Node& n = graph_[i];
    if (n.op != "batch_norm" && !is_activation(n.op)) return kNone;
    int from = graph_.input_of(i, 0);
    while (from != kNone && graph_[from].users.size() == 1 && from != graph_.output) {
      const std::string& op = graph_[from].op;
      if (is_head(op)) return op == "add" && n.op == "batch_norm" ? kNone : from;
      if (op == "batch_norm") {
        const int head = n.op == "batch_norm" ? kNone : head_of(from);
        return n.op == "batch_norm" ? kNone : head == kNone ? from : head;
      }
      if (!passes(op) || op == "concat") return kNone;
      from = graph_.input_of(from, 0);
    }
    return kNone;
  }

  std::string skipped(const Graph::Node& n) const {
    for (const std::string& pattern : rules_.skip) {
      if (fits_within(pattern, n)) return "left alone: " + pattern;
    }
    return {};
  }

  /// The node, its module, or one around that.
  bool fits_within(const std::string& pattern, const Graph::Node& n) const {
    if (fits(pattern, n.name, layer_of(n))) return true;
    for (std::string path = n.path; !path.empty();) {
      if (fits(pattern, path)) return true;
      const size_t dot = path.rfind('.');
      path = dot == std::string::npos ? "" : path.substr(0, dot);
    }
    return false;
  }

  const LayerInfo* layer_of(const Graph::Node& n) const {
    const auto it = by_path_.find(n.path);
    return it == by_path_.end() ? nullptr : it->second;
  }

  /// A pattern that fits nothing is a typing error.
  void check_patterns() const {
    const auto used = [&](const std::string& pattern, bool within) {
      return std::any_of(graph_.nodes.begin(), graph_.nodes.end(), [&](const Graph::Node& n) {
        if (n.is_tensor()) return false;
        return within ? fits_within(pattern, n) : fits(pattern, n.name, layer_of(n));
      });
    };
    for (const auto* list : {&rules_.patterns, &rules_.skip}) {
      for (const std::string& p : *list) {
        PARE_CHECK(used(p, list == &rules_.skip), "quant: ", p, " fits nothing in this model",
                   hint("`pare info --graph ops` lists the names; * fits anything"));
      }
    }
  }

  std::string value_of(int i, size_t operand) const {
    const int from = graph_.input_of(i, operand);
    return from == kNone ? "" : graph_[from].name;
  }

  void add_row(int i, const std::string& value, Kind kind, const std::string& why) {
    plan_.rows.push_back({graph_[i].name, graph_[i].op, value, kind, {}, why});
  }

  const PlacementRules& rules_;
  std::vector<LayerInfo> layers_;
  std::map<std::string, const LayerInfo*> by_path_;
  Graph graph_;
  Slots slots_;
  std::set<std::string> placed_;
  Plan plan_;
};

}  // namespace

bool fits(const std::string& pattern, const std::string& name, const LayerInfo* layer) {
  if (layer && pattern == "first") return layer->first();
  if (layer && pattern == "last") return layer->last();
  return nn::glob(pattern, name) || nn::glob(pattern, underscored(name));
}

Plan plan(nn::Layer& model, const Tensor& example, const PlacementRules& rules) {
  nn::for_each_layer(model, [](const std::string& path, nn::Layer& layer) {
    PARE_CHECK(!layer.as<Quantizer>(), "quant: the model has quantizers already, such as ", path,
               hint("plan with the float model"));
  });
  return Planner(model, example, rules).run();
}

std::vector<Placement> Plan::placements() const {
  std::vector<Placement> all;
  for (const Row& row : rows) {
    if (row.placement) all.push_back(*row.placement);
  }
  return all;
}

int64_t Plan::count(Kind kind) const {
  return std::count_if(rows.begin(), rows.end(), [kind](const Row& r) { return r.kind == kind; });
}

const char* name_of(Plan::Kind kind) {
  switch (kind) {
    case Kind::quantized:
      return "quantized";
    case Kind::follows:
      return "follows";
    case Kind::passes:
      return "passes";
    case Kind::stays:
      return "stays float";
  }
  return "?";
}

std::ostream& operator<<(std::ostream& out, const Plan& plan) {
  std::vector<std::vector<std::string>> lines{{"reader", "op", "value", "quantizer", "at"}};
  for (const Plan::Row& r : plan.rows) {
    if (r.placement) {
      lines.push_back(
          {r.node, r.op, r.value, to_string(r.placement->spec), to_string(*r.placement)});
    } else if (r.kind == Kind::stays) {
      lines.push_back({r.node, r.op, r.value, "float", r.why});
    }
  }
  return out << nn::columns(lines) << plan.count(Kind::quantized) << " quantizers; "
             << plan.count(Kind::follows) << " ops follow what they are computed along with, "
             << plan.count(Kind::passes) << " only move values\n";
}

}  // namespace pare::quant
