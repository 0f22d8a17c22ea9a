#include "quant/allocate.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "core/rng.h"
#include "tests/support/message.h"

using namespace pare;
using quant::BitPlan, quant::Budget, quant::Choice, quant::choose, quant::choose_greedily;
using quant::Chosen, quant::LossKind, quant::plan_bits, quant::Sensitivity;
using test::contains, test::message_of;

namespace {

using Layers = std::vector<std::vector<Choice>>;

/// Losses that fall about as costs grow, with noise: neither convex nor monotone.
Layers random_layers(Rng& rng, size_t layers, size_t choices) {
  Layers all;
  for (size_t l = 0; l < layers; ++l) {
    auto& list = all.emplace_back();
    const int64_t weights = 16 << rng.below(6);
    const float scale = std::exp(3 * rng.normal());
    for (size_t k = 0; k < choices; ++k) {
      const auto bits = static_cast<int64_t>(k + 2);
      const double loss = scale * std::exp2(-1.5 * static_cast<double>(bits)) + 0.01 * rng.normal();
      list.push_back({loss, bits * weights});
    }
  }
  return all;
}

/// The best loss of all combinations.
double brute_force(const Layers& layers, int64_t budget, size_t at = 0, double loss = 0,
                   int64_t cost = 0) {
  if (cost > budget) return std::numeric_limits<double>::infinity();
  if (at == layers.size()) return loss;
  double best = std::numeric_limits<double>::infinity();
  for (const Choice& c : layers[at]) {
    best = std::min(best, brute_force(layers, budget, at + 1, loss + c.loss, cost + c.cost));
  }
  return best;
}

void check_sums(const Layers& layers, const Chosen& c, int64_t budget) {
  double loss = 0;
  int64_t cost = 0;
  REQUIRE(c.index.size() == layers.size());
  for (size_t l = 0; l < layers.size(); ++l) {
    loss += layers[l][c.index[l]].loss;
    cost += layers[l][c.index[l]].cost;
  }
  CHECK(loss == doctest::Approx(c.loss));
  CHECK(cost == c.cost);
  CHECK(cost <= budget);
}

std::pair<int64_t, int64_t> cost_limits(const Layers& layers) {
  int64_t least = 0, most = 0;
  for (const auto& choices : layers) {
    least += choices.front().cost, most += choices.back().cost;
  }
  return {least, most};
}

/// Two layers of 100 weights and 1000 multiply-accumulates, the second more sensitive.
Sensitivity two_layers() {
  Sensitivity s{.scheme = "W=uniform:8,A=uniform:8,keep=none",
                .probes = 1,
                .other_size = 320,
                .other_macs = 10};
  for (const double scale : {1.0, 3.0}) {
    s.layers.push_back({.path = scale > 1 ? "b" : "a",
                        .weights = 100,
                        .macs = 1000,
                        .trace = 200 / scale,
                        .weight = {{2, scale, 4, 200 + 32}, {4, scale / 10, 1, 400 + 32}},
                        .input = {{4, scale / 2}, {8, 0.001}}});
  }
  return s;
}

}  // namespace

TEST_CASE("choose: the best of all combinations, at every budget") {
  Rng rng(1);
  int better = 0;
  for (int trial = 0; trial < 60; ++trial) {
    const Layers layers = random_layers(rng, 5, 4);
    const auto [least, most] = cost_limits(layers);
    for (const double part : {0.0, 0.1, 0.35, 0.6, 0.99, 1.5}) {
      const auto budget = least + static_cast<int64_t>(part * static_cast<double>(most - least));
      const Chosen exact = choose(layers, budget), greedy = choose_greedily(layers, budget);
      check_sums(layers, exact, budget);
      check_sums(layers, greedy, budget);
      CHECK(exact.loss == doctest::Approx(brute_force(layers, budget)).epsilon(1e-12));
      CHECK(greedy.loss >= exact.loss - 1e-12);
      better += greedy.loss > exact.loss + 1e-9;
    }
  }
  CHECK(better > 60);  // greedy is not exact: there is something to compare with
}

TEST_CASE("choose: where greed is wrong") {
  // The first exchange is the cheaper one per bit, but then nothing else fits.
  const Layers layers{{{1.0, 0}, {0.0, 10}}, {{1.05, 0}, {0.0, 11}}, {{1.3, 0}, {0.0, 20}}};
  const Chosen exact = choose(layers, 21), greedy = choose_greedily(layers, 21);
  CHECK(exact.loss == doctest::Approx(1.3));
  CHECK(exact.index == std::vector<size_t>{1, 1, 0});
  CHECK(greedy.loss >= exact.loss);
}

TEST_CASE("choose: a hundred layers of sixteen choices take a moment") {
  Rng rng(2);
  const Layers layers = random_layers(rng, 100, 16);
  const auto [least, most] = cost_limits(layers);
  const int64_t budget = (3 * least + most) / 4;
  const auto began = std::chrono::steady_clock::now();
  const Chosen exact = choose(layers, budget);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
  check_sums(layers, exact, budget);
  CHECK(exact.loss <= choose_greedily(layers, budget).loss);
  CHECK(seconds.count() < 20);  // milliseconds; with sanitizers more
}

TEST_CASE("choose: what has no solution is refused") {
  CHECK(contains(message_of([] {
                   choose({{{0, 5}, {1, 3}}, {{0, 4}}}, 6);
                 }),
                 "the budget is 6, the least that is possible 7"));
  CHECK(contains(message_of([] { choose({{{0, 5}}, {}}, 6); }), "a layer has no choice"));
  CHECK(contains(message_of([] { choose({{{std::nan(""), 5}}}, 6); }), "a loss is nan"));
  CHECK(choose({}, 0).index.empty());
}

TEST_CASE("plan: size, mean bits and operations, with all that has no choice") {
  const Sensitivity s = two_layers();
  BitPlan plan = plan_bits(s, Budget::size, 320 + 232 + 432);
  CHECK(plan.rows[0].weight_bits == 2);  // the less sensitive one
  CHECK(plan.rows[1].weight_bits == 4);
  CHECK(plan.size == 320 + 232 + 432);
  CHECK(plan.mean_bits == 3);
  CHECK(plan.loss == doctest::Approx(1 + 0.3));
  CHECK(quant::to_string(plan.scheme) == "W=uniform:2,A=uniform:8,keep=none,w_bits=b:4");
  CHECK(plan.bit_ops == 1000 * (2 + 4) * 8 + 10 * 1024);

  plan = plan_bits(s, Budget::mean_bits, 2 * 399);
  CHECK(plan.mean_bits == 3);
  plan = plan_bits(s, Budget::mean_bits, 2 * 400);
  CHECK(plan.mean_bits == 4);
  CHECK(quant::to_string(plan.scheme) == "W=uniform:4,A=uniform:8,keep=none");

  // Curvature has it the other way round: trace / n noise / 2.
  plan = plan_bits(s, Budget::mean_bits, 2 * 300, LossKind::foretold);
  CHECK(plan.rows[0].weight_bits == 4);
  CHECK(plan.rows[1].weight_bits == 2);
  CHECK(plan.loss == doctest::Approx(2.0 * 1 / 2 + 200.0 / 300 * 4 / 2));

  plan = plan_bits(s, Budget::bit_ops, 10 * 1024 + 1000 * (4 * 8 + 4 * 8));
  CHECK(plan.loss == doctest::Approx(0.1 + 0.3 + 0.002));
  plan = plan_bits(s, Budget::bit_ops, 10 * 1024 + 1000 * (4 * 4 + 4 * 8));
  CHECK(plan.rows[0].input_bits == 4);
  CHECK(plan.rows[1].input_bits == 8);
  CHECK(quant::to_string(plan.scheme).find("a_bits=") != std::string::npos);
  CHECK(contains(str(plan), "model  4.00"));
  // What it prints is understood, and is the same.
  const std::string text = quant::to_string(plan.scheme);
  CHECK(quant::to_string(quant::parse_scheme(text)) == text);
}

TEST_CASE("plan: impossible budgets and missing measurements are refused") {
  Sensitivity s = two_layers();
  CHECK(contains(message_of([&] { plan_bits(s, Budget::size, 700); }),
                 "the budget is 700 bits stored, the least possible is 784 and the most 1184, 320 "
                 "of it for what has no choice"));
  CHECK(contains(message_of([&] { plan_bits(s, Budget::bit_ops, 100); }), "bit operations"));
  s.probes = 0;
  CHECK(contains(message_of([&] { plan_bits(s, Budget::mean_bits, 2 * 300, LossKind::foretold); }),
                 "the curvature was not measured"));
  s.scheme = "W=float,A=uniform:8,keep=none";
  for (auto& layer : s.layers) layer.weight.clear();
  CHECK(contains(message_of([&] { plan_bits(s, Budget::size, 7000); }), "are float"));
  CHECK(plan_bits(s, Budget::bit_ops, 10 * 1024 + 1000 * 64 * 4).rows[0].weight_bits == 32);
  s.layers.clear();
  CHECK(contains(message_of([&] { plan_bits(s, Budget::bit_ops, 7000); }), "no layer"));
}
