#include "deploy/onnx/quant_plan.h"

#include <algorithm>

#include "core/error.h"
#include "core/ops.h"

namespace pare::onnx {

using nn::Graph;

namespace {

constexpr int kNone = Graph::kNone;

bool is_clipping(const std::string& op) { return op == "relu" || op == "relu6"; }

bool is_pool(const std::string& op) { return op == "avg_pool2d" || op == "mean"; }

}  // namespace

QuantPlan::QuantPlan(const nn::TracedValues& traced, const Facts& facts,
                     const ExportOptions& options, const std::vector<bool>& integer_layer)
    : graph_(traced.graph),
      values_(traced.values),
      facts_(facts),
      options_(options),
      integer_layer_(integer_layer),
      fill_(graph_.nodes.size()) {
  if (!options.qdq || !options.fill) return;
  for (int i = 0; i < graph_.size(); ++i) inside_.push_back(find_inside(i));
  for (int i = graph_.size(); i-- > 0;) fill_[static_cast<size_t>(i)] = choose(i);
}

ActivationGrid QuantPlan::grid(int quantizer) const {
  const Graph::Node& n = graph_[quantizer];
  const int from = n.inputs[0];
  return grid_of(facts_.quantizer(quantizer)->codes_for({}),
                 {facts_.is_nonnegative(from), facts_.upper(from)}, options_, n.name);
}

bool QuantPlan::find_inside(int i) const {
  const Graph::Node& n = graph_[i];
  if (facts_.is_static(i) || i == graph_.input) return false;
  if (facts_.quantizer(i)) return true;
  if (is_layer(n)) return integer_layer_[static_cast<size_t>(i)] && inside(n.inputs[0]);
  if (facts_.layer_of(i) != kNone) return inside(n.inputs[0]);
  if (!only_moves(n.op) && !is_pool(n.op) && !is_clipping(n.op) && n.op != "add") return false;
  return std::any_of(n.inputs.begin(), n.inputs.end(),
                     [&](int k) { return k != kNone && inside(k); });
}

/// Makes sums that a runtime rounds once.
bool QuantPlan::is_head(int i) const {
  const Graph::Node& n = graph_[i];
  return inside(i) && (is_layer(n) || n.op == "add" || facts_.layer_of(i) != kNone);
}

/// Not stored: the batch norm or ReLU behind it is computed along with it.
bool QuantPlan::is_absorbed(int i) const {
  const Graph::Node& n = graph_[i];
  if (facts_.norm_of(i) != kNone) return true;
  if (n.users.size() != 1 || i == graph_.output) return false;
  return is_head(i) && is_clipping(graph_[n.users[0]].op);
}

bool QuantPlan::feeds_sum(int i) const {
  const std::vector<int>& users = graph_[i].users;
  return std::any_of(users.begin(), users.end(),
                     [&](int u) { return graph_[u].op == "add" && inside(u); });
}

bool QuantPlan::is_clipped(int i) const {
  const Wish w = wish(i);
  return fill(i) || (options_.qdq && w.agreed && w.only_quantizers);
}

QuantPlan::Wish QuantPlan::wish_of(int reader) const {
  const Graph::Node& n = graph_[reader];
  if (const nn::Coded* q = facts_.quantizer(reader)) {
    const nn::Codes c = q->codes_for({});
    if (c.kind != nn::Codes::Kind::uniform) return {.blocked = true};
    if (c.share != QuantShare::tensor || c.bits > 8) return {.only_quantizers = true};
    ActivationGrid g = grid(reader);
    g.scale = g.step;
    return {.agreed = true, .grid = g};
  }
  Wish through{.only_quantizers = false};
  if (!only_moves(n.op) && n.op != "relu") return through;
  const Wish next = wish(reader);
  const auto& own = fill(reader);
  through.blocked = next.blocked;
  through.agreed = own || next.agreed;
  through.grid = own ? own : next.grid;
  // A ReLU's readers may have codes that start at zero, which what is below zero has not.
  if (n.op == "relu") through.agreed = false, through.grid.reset();
  return through;
}

QuantPlan::Wish QuantPlan::wish(int i) const {
  Wish all{.agreed = !graph_[i].users.empty() && i != graph_.output};
  all.only_quantizers = i != graph_.output;
  std::optional<ActivationGrid> eight;
  for (int user : graph_[i].users) {
    const Wish w = wish_of(user);
    all.blocked |= w.blocked;
    all.only_quantizers &= w.only_quantizers;
    all.agreed &= w.agreed && (!all.grid || all.grid == w.grid);
    if (!all.grid) all.grid = w.grid;
    if (w.grid && w.grid->bits == 8 && !eight) eight = w.grid;
  }
  if (!all.agreed) all.grid = eight;
  return all;
}

std::optional<ActivationGrid> QuantPlan::choose(int i) const {
  const Graph::Node& n = graph_[i];
  const bool candidate = inside(i) || feeds_sum(i);
  if (!candidate || facts_.is_static(i) || facts_.quantizer(i) || is_absorbed(i)) return {};
  const Wish w = wish(i);
  if (w.blocked || (w.agreed && w.only_quantizers)) return {};
  const int behind = is_clipping(n.op) ? n.inputs[0] : i;
  const bool head = is_head(i) || (behind != i && is_head(behind) && is_absorbed(behind));
  const bool linear_output = i == graph_.output && n.op == "linear";
  if ((head && !linear_output) || feeds_sum(i)) return w.grid ? *w.grid : measured(i);
  if (w.agreed) return w.grid;
  return {};
}

ActivationGrid QuantPlan::measured(int i) const {
  const Bounds b = bounds(values_[static_cast<size_t>(i)]);
  PARE_CHECK(b.min <= b.max, "onnx: ", graph_[i].name, " has values that are not numbers");
  return grid_of_range(b.min, b.max, options_);
}

}  // namespace pare::onnx
