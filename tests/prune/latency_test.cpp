#include "prune/latency.h"

#include <doctest/doctest.h>

#include "tests/prune/cases.h"

namespace pare::test {
namespace {

using prune::Keep, prune::LatencyModel, prune::Structure;

constexpr double kPerMac = 1e-9;

/// A machine on which only multiply-accumulates take time.
double ideal(double macs, const std::function<void()>& run) {
  run();  // the layer can be computed
  return kPerMac * macs;
}

/// Every second unit of what may be pruned in equal parts.
Keep thinned(const Structure& s) {
  Keep keep = s.keep_all();
  for (const nn::Channels::Group& g : s.channels.groups) {
    if (!g.kept_because.empty() || g.makers.empty()) continue;
    for (size_t i = 0; i < g.units.size(); i += 4) keep[static_cast<size_t>(g.units[i])] = false;
  }
  return keep;
}

TEST_CASE("latency: where time is multiply-accumulates, the model of it counts them") {
  for (PruneCase& c : library_cases()) {
    CAPTURE(c.name);
    const Structure s(c.model, slice(c.images, 0, 0, 1));
    const LatencyModel time(s, c.model, c.images, ideal);
    const prune::CostModel cost(s);
    const double images = 2 * kPerMac;
    CHECK(time(s.keep_all()) == doctest::Approx(images * cost(s.keep_all()).macs));
    if (!s.channels.blocks.empty()) continue;  // thinned() knows no groups
    CHECK(time(thinned(s)) == doctest::Approx(images * cost(thinned(s)).macs));
  }
}

TEST_CASE("latency: what each call costs stays, what goes over activations shrinks with them") {
  PruneCase c = library_case("resnet20", {.widths = {4, 8, 16}, .shortcut = "A"});
  const Structure s(c.model, slice(c.images, 0, 0, 1));
  const prune::CostModel cost(s);
  const double macs = 2 * cost(s.keep_all()).macs, call = 1e-3, rest = 0.5;
  int calls = 0;
  const auto stopwatch = [&](double n, const std::function<void()>& run) {
    ++calls;
    run();
    return n == macs ? 20 * call + rest : call;  // the whole network is told by its MACs
  };
  const LatencyModel time(s, c.model, c.images, stopwatch);
  CHECK(calls == 20 * 4 + 1);  // 19 convolutions, one linear layer
  CHECK(time(s.keep_all()) == doctest::Approx(20 * call + rest));
  const double left = cost(thinned(s)).activations / cost(s.keep_all()).activations;
  REQUIRE(left < 0.9);
  CHECK(time(thinned(s)) == doctest::Approx(20 * call + rest * left));
}

TEST_CASE("latency: the fastest run is positive, and is one of the work itself") {
  int runs = 0;
  const double seconds = prune::fastest_run(1, [&] {
    volatile double sum = 0;
    for (int i = 0; i < 10000; ++i) sum = sum + i;
    ++runs;
  });
  CHECK(seconds > 0);
  CHECK(runs > 3);
}

TEST_CASE("a plan reaches a share of the time") {
  PruneCase c = library_case("nin", {.widths = {12, 10, 8, 12, 12, 12, 12, 12}});
  const Tensor example = slice(c.images, 0, 0, 1);
  const Structure s(c.model, example);
  const LatencyModel time(s, c.model, c.images, ideal);
  const prune::CriterionInfo& l1 = prune::find_criterion("l1");
  Rng rng(1);
  const prune::Scores scores = prune::score(l1, {c.model, s, rng});
  prune::PlanOptions o{.latency = 0.6, .spread = prune::Spread::global};
  CHECK_THROWS_WITH_AS(prune::select(l1, scores, s, c.model, example, o),
                       doctest::Contains("needs times of layers"), Error);
  o.seconds = [&](const Keep& keep) { return time(keep); };
  o.full_seconds = time(s.keep_all());
  const prune::Plan plan = prune::select(l1, scores, s, c.model, example, o);
  CHECK(plan.after.seconds <= 0.6 * plan.before.seconds);
  CHECK(plan.after.seconds > 0.5 * plan.before.seconds);
  CHECK(str(plan).find("as expected from its layers") != std::string::npos);
  // On this machine it is the same as a target for MACs.
  const prune::Plan macs = prune::select(l1, scores, s, c.model, example,
                                         {.macs = 0.6, .spread = prune::Spread::global});
  CHECK(prune::to_yaml(plan) == prune::to_yaml(macs));
  o.latency = 1e-6;
  CHECK_THROWS_WITH_AS(prune::select(l1, scores, s, c.model, example, o),
                       doctest::Contains("% of the time is out of reach"), Error);
}

}  // namespace
}  // namespace pare::test
