#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/error.h"
#include "nn/text.h"
#include "quant/allocate.h"

namespace pare::quant {

namespace {

using Layer = Sensitivity::Layer;
using Point = Sensitivity::Point;

constexpr int kFloat = 32;

/// Everything that may become of a layer. Inputs have `input_bits`, or if that is 0 all that were
/// measured.
std::vector<BitPlan::Row> rows_of(const Layer& layer, LossKind kind, int input_bits) {
  std::vector<Point> weights = layer.weight, inputs = layer.input;
  if (weights.empty()) weights = {{.bits = kFloat, .size = kFloat * layer.weights}};
  if (input_bits != 0 || inputs.empty()) inputs = {{.bits = input_bits ? input_bits : kFloat}};
  std::vector<BitPlan::Row> rows;
  for (const Point& w : weights) {
    const double loss = kind == LossKind::measured ? w.loss : layer.foretold(w);
    for (const Point& a : inputs) {
      rows.push_back({.path = layer.path,
                      .weight_bits = w.bits,
                      .input_bits = a.bits,
                      .loss = loss + a.loss,
                      .size = w.size,
                      .bit_ops = layer.macs * w.bits * a.bits});
    }
  }
  return rows;
}

int64_t cost_of(const BitPlan::Row& row, const Layer& layer, Budget budget) {
  if (budget == Budget::size) return row.size;
  return budget == Budget::bit_ops ? row.bit_ops : row.weight_bits * layer.weights;
}

/// What is spent on all that is no choice.
int64_t fixed_cost(const Sensitivity& s, Budget budget) {
  if (budget == Budget::size) return s.other_size;
  return budget == Budget::bit_ops ? kFloat * kFloat * s.other_macs : 0;
}

void check(const Sensitivity& s, const Scheme& scheme, Budget budget, LossKind kind) {
  PARE_CHECK(!s.layers.empty(), "allocate: no layer was measured");
  PARE_CHECK(scheme.weight || budget == Budget::bit_ops, "allocate: the weights of ", s.scheme,
             " are float: their size is given", hint("give a budget of operations"));
  PARE_CHECK(kind == LossKind::measured || s.probes > 0, "allocate: the curvature was not measured",
             hint("measure it with probes > 0"));
}

const char* unit(Budget budget) {
  if (budget == Budget::size) return " bits stored";
  return budget == Budget::bit_ops ? " bit operations" : " bits, weights times bits of each layer";
}

void check_limit(const std::vector<std::vector<Choice>>& layers, Budget budget, int64_t fixed,
                 int64_t limit) {
  int64_t least = fixed, most = fixed;
  for (const auto& choices : layers) {
    const auto cheaper = [](const Choice& a, const Choice& b) { return a.cost < b.cost; };
    const auto [low, high] = std::minmax_element(choices.begin(), choices.end(), cheaper);
    least += low->cost, most += high->cost;
  }
  PARE_CHECK(least <= limit, "allocate: the budget is ", limit, unit(budget),
             ", the least possible is ", least, " and the most ", most,
             fixed > 0 ? str(", ", fixed, " of it for what has no choice") : "",
             hint("allow more, or measure fewer bits"));
}

/// The bits that most layers have become those of the quantizer; the others are listed by path.
template <class Bits>
std::vector<LayerBits> exceptions(const std::vector<BitPlan::Row>& rows, Bits&& bits, int* usual) {
  std::map<int, int> count;
  for (const BitPlan::Row& r : rows) ++count[bits(r)];
  *usual = std::max_element(count.begin(), count.end(), [](const auto& a, const auto& b) {
             return a.second < b.second;
           })->first;
  std::vector<LayerBits> list;
  for (const BitPlan::Row& r : rows) {
    if (bits(r) != *usual) list.push_back({r.path, bits(r)});
  }
  return list;
}

void set_bits(Scheme& scheme, const std::vector<BitPlan::Row>& rows) {
  if (scheme.weight) {
    scheme.weight_bits = exceptions(
        rows, [](const auto& r) { return r.weight_bits; }, &scheme.weight->bits);
  }
  if (scheme.activation) {
    scheme.input_bits = exceptions(
        rows, [](const auto& r) { return r.input_bits; }, &scheme.activation->bits);
  }
}

}  // namespace

BitPlan plan_bits(const Sensitivity& s, Budget budget, int64_t limit, LossKind kind) {
  BitPlan plan{.scheme = parse_scheme(s.scheme)};
  check(s, plan.scheme, budget, kind);
  const bool inputs_too = budget == Budget::bit_ops;
  const int input_bits = plan.scheme.activation ? plan.scheme.activation->bits : kFloat;
  std::vector<std::vector<BitPlan::Row>> rows;
  std::vector<std::vector<Choice>> choices;
  for (const Layer& layer : s.layers) {
    rows.push_back(rows_of(layer, kind, inputs_too ? 0 : input_bits));
    auto& list = choices.emplace_back();
    for (const BitPlan::Row& r : rows.back()) list.push_back({r.loss, cost_of(r, layer, budget)});
  }
  const int64_t fixed = fixed_cost(s, budget);
  check_limit(choices, budget, fixed, limit);
  const Chosen best = choose(choices, limit - fixed);
  plan.size = s.other_size, plan.bit_ops = kFloat * kFloat * s.other_macs;
  int64_t weights = 0, bits = 0;
  for (size_t l = 0; l < rows.size(); ++l) {
    plan.rows.push_back(rows[l][best.index[l]]);
    const BitPlan::Row& r = plan.rows.back();
    plan.loss += r.loss, plan.size += r.size, plan.bit_ops += r.bit_ops;
    weights += s.layers[l].weights, bits += r.weight_bits * s.layers[l].weights;
  }
  plan.mean_bits = static_cast<double>(bits) / static_cast<double>(weights);
  set_bits(plan.scheme, plan.rows);
  return plan;
}

std::ostream& operator<<(std::ostream& out, const BitPlan& plan) {
  std::vector<std::vector<std::string>> lines{{"layer", "W", "A", "loss", "size", "operations"}};
  const auto line = [&](const std::string& name, const std::string& w, const std::string& a,
                        double loss, int64_t size, int64_t ops) {
    lines.push_back({name, w, a, fmt::format("{:+.4f}", loss),
                     fmt::format("{:.2f} kB", static_cast<double>(size) / 8e3),
                     fmt::format("{:.4f} G", static_cast<double>(ops) / 1e9)});
  };
  for (const BitPlan::Row& r : plan.rows) {
    line(r.path, std::to_string(r.weight_bits), std::to_string(r.input_bits), r.loss, r.size,
         r.bit_ops);
  }
  line("model", fmt::format("{:.2f}", plan.mean_bits), "", plan.loss, plan.size, plan.bit_ops);
  return out << nn::columns(lines);
}

}  // namespace pare::quant
