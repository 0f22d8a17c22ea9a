#include "prune/select.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/prune/cases.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::prune;
using namespace pare::test;

namespace {

/// Channels that stay, by layer.
std::vector<int64_t> widths(const Plan& plan) {
  std::vector<int64_t> all;
  for (const Plan::Layer& l : plan.layers) all.push_back(l.kept());
  return all;
}

using Widths = std::vector<int64_t>;

/// Two prunable layers of 10 and 20 channels with the scores 0, 1, 2, ... and 5, 6, 7, ....
struct Ramp {
  PruneCase c = odd_case("ramp", nn::Sequential({conv(3, 10), conv(10, 20), conv(20, 2)}));
  Structure s{c.model, c.images};
  Scores scores;
  CriterionInfo info{.name = "ramp", .summary = "", .comparable = true};

  Ramp() {
    scores.of.resize(static_cast<size_t>(s.channels.units));
    for (int g = 0; g < s.groups(); ++g) {
      const std::vector<int>& units = s.group(g).units;
      for (size_t i = 0; i < units.size(); ++i) {
        scores.of[static_cast<size_t>(units[i])] =
            static_cast<double>(i) + (s.name(g) == "1" ? 5 : 0);
      }
    }
  }
  Plan plan(const PlanOptions& o) const { return select(info, scores, s, c.model, c.images, o); }
  std::string error(const PlanOptions& o) const {
    return message_of([&] { plan(o); });
  }
};

}  // namespace

TEST_CASE("select: the lowest scores go, wherever they are") {
  const Ramp r;
  const Plan plan = r.plan({.percent = 0.3});  // 9 of 30: 0..6 of one layer, 5 and 6 of the other
  CHECK(widths(plan) == Widths{3, 18, 2});
  CHECK(plan.layers[0].keep == std::vector<int64_t>{7, 8, 9});
  CHECK(plan.layers[1].keep.front() == 2);
  CHECK(plan.method == "ramp");
  CHECK(widths(r.plan({.percent = 0})) == Widths{10, 20, 2});
}

TEST_CASE("select: or the same share of each layer") {
  Ramp r;
  CHECK(widths(r.plan({.percent = 0.3, .spread = Spread::layer})) == Widths{7, 14, 2});
  CHECK(widths(r.plan({.percent = 0.29, .spread = Spread::layer})) == Widths{8, 15, 2});
  r.info.comparable = false;
  CHECK(widths(r.plan({.percent = 0.3})) == Widths{7, 14, 2});
  // Relative to the means, 4.5 and 14.5, the second layer starts at 0.34.
  CHECK(widths(r.plan({.percent = 0.3, .spread = Spread::global})) == Widths{6, 15, 2});
}

TEST_CASE("select: layers with a share of their own") {
  const Ramp r;
  CHECK(widths(r.plan({.percent = 0.5, .layers = {{"0", 0}}})) == Widths{10, 10, 2});
  CHECK(widths(r.plan({.percent = 0, .layers = {{"*", 0.1}, {"1", 0.5}}})) == Widths{9, 10, 2});
  CHECK(r.plan({.layers = {{"0", 0}}}).layers[0].note == "stays: asked for");
  CHECK(contains(r.error({.layers = {{"7", 0}}}), "no layer is called 7"));
  CHECK(contains(r.error({.layers = {{"0", 1}}}), "share of 0 must be in 0..1 without 1, got 1"));
  CHECK(contains(r.error({.layers = {{"*", 0}}}), "no layer can be pruned"));
}

TEST_CASE("select: shares as text") {
  CHECK(parse_shares("conv1:0+layer3.*:0.25") ==
        std::vector<LayerShare>{{"conv1", 0}, {"layer3.*", 0.25}});
  CHECK(parse_shares("").empty());
  for (const char* bad : {"conv1", "conv1:", ":0.5", "conv1:x", "conv1:0.5x", "a:0.1++b:0.1"}) {
    const std::string text = bad;
    CAPTURE(text);
    CHECK(contains(message_of([&] { parse_shares(text); }), "expected LAYER:SHARE"));
  }
}

TEST_CASE("select: no layer is ever left empty") {
  const Ramp r;
  const Plan plan = r.plan({.percent = 0.99});
  CHECK(widths(plan) == Widths{1, 1, 2});
  CHECK(plan.layers[0].note == "0 by score, at least 1 must stay");
  CHECK(widths(r.plan({.percent = 0.99, .min_channels = 4})) == Widths{4, 4, 2});
  CHECK(widths(r.plan({.percent = 0.99, .min_channels = 15})) == Widths{10, 15, 2});
  CHECK(contains(r.error({.percent = 1}), "percent must be in 0..1 without 1, got 1"));
  CHECK(contains(r.error({.percent = -0.1}), "percent must be in 0..1"));
  CHECK(contains(r.error({.min_channels = 0}), "min_channels must be at least 1"));
  CHECK(contains(r.error({.regular = 0}), "regular must be at least 1"));
}

TEST_CASE("select: regular pruning rounds to the nearest multiple, capped at the width") {
  const Ramp r;
  // By score 3 and 18 stay: 3 is below a multiple, 18 is rounded up, the tie upwards too.
  CHECK(widths(r.plan({.percent = 0.3, .regular = 4})) == Widths{3, 20, 2});
  CHECK(widths(r.plan({.percent = 0.3, .regular = 5})) == Widths{3, 20, 2});
  CHECK(widths(r.plan({.percent = 0.5, .spread = Spread::layer, .regular = 4})) ==
        Widths{4, 12, 2});
  CHECK(widths(r.plan({.percent = 0.1, .spread = Spread::layer, .regular = 8})) ==
        Widths{8, 16, 2});
  CHECK(widths(r.plan({.percent = 0.0, .regular = 16})) == Widths{10, 16, 2});
  CHECK(contains(r.plan({.percent = 0.3, .regular = 4}).layers[1].note,
                 "18 by score, rounded to a multiple of 4"));
}

TEST_CASE("select: targets are met with as little as possible") {
  const Ramp r;
  for (double share : {0.9, 0.5, 0.2}) {
    CAPTURE(share);
    const Plan plan = r.plan({.macs = share});
    CHECK(plan.after.macs <= share * plan.before.macs);
    CHECK(plan.after.macs > (share - 0.15) * plan.before.macs);
    const Plan small = r.plan({.params = share});
    CHECK(small.after.params <= share * small.before.params);
  }
  CHECK(widths(r.plan({.macs = 1.0})) == Widths{10, 20, 2});
  const Plan both = r.plan({.macs = 0.8, .params = 0.4});
  CHECK(both.after.params <= 0.4 * both.before.params);
  CHECK(contains(r.error({.macs = 0.001}), "out of reach"));
  CHECK(contains(r.error({.params = 0.001}), "of the parameters is out of reach"));
  CHECK(contains(r.error({.macs = 0.0}), "a target must be above 0"));
  CHECK(contains(r.error({.macs = 1.5}), "a target must be above 0 and at most 1, got 1.5"));
}

TEST_CASE("select: a target for bytes counts statistics too") {
  PruneCase c = odd_case("normed", nn::Sequential({conv(3, 10), nn::BatchNorm2d(10), nn::ReLU(),
                                                   conv(10, 8), nn::BatchNorm2d(8)}));
  const Structure s(c.model, c.images);
  Rng rng(1);
  const CriterionInfo& l1 = find_criterion("l1");
  const Scores scores = score(l1, {c.model, s, rng});
  const Plan plan = select(l1, scores, s, c.model, c.images, {.bytes = 0.5});
  CHECK(plan.after.bytes <= 0.5 * plan.before.bytes);
  // 4 bytes for each parameter and each mean and variance.
  CHECK(plan.before.bytes == 4 * (plan.before.params + 2 * (10 + 8)));
  CHECK(contains(str(plan), "bytes "));
  CHECK(contains(message_of([&] { select(l1, scores, s, c.model, c.images, {.bytes = 0.001}); }),
                 "of the bytes is out of reach"));
}

TEST_CASE("select: in steps, shares are of the network before the first one") {
  const Ramp r;
  for (const Spread spread : {Spread::global, Spread::layer}) {
    nn::Layer small = apply(r.plan({.percent = 0.2, .spread = spread}), r.c.model, r.c.images);
    const Structure s(small, r.c.images);
    Scores scores;
    for (int u = 0; u < s.channels.units; ++u) scores.of.push_back(-u);  // the wide layer's first
    const auto next = [&](PlanOptions o) {
      o.spread = spread, o.of = &r.s;
      return select(r.info, scores, s, small, r.c.images, o);
    };
    CHECK(next({.percent = 0.5}).kept() == 15 + 2);  // of 30, and the two of the output
    CHECK(next({.percent = 0.2}).kept() == 24 + 2);  // nothing more
    CHECK(next({.percent = 0.1}).kept() == 24 + 2);  // nor less
    const double full = r.plan({.percent = 0}).before.macs;
    const Plan half = next({.macs = 0.5});
    CHECK(half.after.macs <= 0.5 * full);
    CHECK(half.after.macs > 0.35 * full);
    const std::vector<LayerShare> shares{{"0", 0.7}};
    CHECK(next({.percent = 0.2, .layers = shares}).layers[0].kept() == 3);
    const auto other = [&] { select(r.info, r.scores, r.s, r.c.model, r.c.images, {.of = &s}); };
    CHECK(contains(message_of(other), "the network before the first step is another one"));
  }
}

TEST_CASE("select: groups of convolutions keep their structure on the way through shuffles") {
  PruneCase c = library_case("nin_gc", {.widths = {32, 32, 32, 64, 64, 64, 64, 64}});
  const std::vector<int64_t> multiples{2, 2, 16, 16, 4, 32, 32, 8};
  for (double percent : {0.2, 0.4, 0.6, 0.8}) {
    CAPTURE(percent);
    const Plan plan = plan_for(c, "l1", {.percent = percent, .spread = Spread::global});
    nn::Layer small = apply(plan, c.model, c.images);
    nn::Layer silent = c.model;
    silence(plan, silent, c.images);
    const Tensor got = output(small, c.images), want = output(silent, c.images);
    for (int64_t i = 0; i < want.numel(); ++i) {
      CHECK(got.data()[i] == doctest::Approx(want.data()[i]).epsilon(1e-4));
    }
    for (size_t i = 0; i < multiples.size(); ++i) CHECK(widths(plan)[i] % multiples[i] == 0);
    CHECK(plan.kept() < plan.channels());
  }
}

TEST_CASE("select: what the criterion cannot judge stays and says why") {
  PruneCase c = odd_case("no norm", nn::Sequential({conv(3, 8), nn::BatchNorm2d(8), conv(8, 6),
                                                    nn::ReLU(), conv(6, 2)}));
  const Plan plan = plan_for(c, "slimming", {.percent = 0.5});
  CHECK(widths(plan) == Widths{4, 6, 2});
  CHECK(plan.layers[1].note == "stays: it has no batch norm with a scale");
  PruneCase bare = odd_case("bare", nn::Sequential({conv(3, 8), conv(8, 2)}));
  const std::string message = message_of([&] { plan_for(bare, "slimming", {}); });
  CHECK(contains(message, "no layer can be pruned"));
  CHECK(contains(message, "0 stays: it has no batch norm"));
}

TEST_CASE("select: layers that share the groups of a convolution stay") {
  PruneCase c = odd_case(
      "shared groups",
      OddNet({{"a", conv(3, 6)}, {"b", conv(3, 2)}, {"g", conv(8, 4, 2)}, {"last", conv(4, 2)}},
             [](const Parts& p, const Tensor& x) {
               return p["last"](p["g"](concat({p["a"](x), p["b"](x)})));
             }));
  const Plan plan = plan_for(c, "l1", {.percent = 0.5});
  CHECK(contains(plan.layers[0].note, "shares the groups of g with other layers"));
  CHECK(plan.layers[0].kept() == 6);
  CHECK(plan.layers[2].kept() == 2);
  nn::Layer small = apply(plan, c.model, c.images);
  CHECK(output(small, c.images).shape() == output(c.model, c.images).shape());
}

TEST_CASE("select: extreme plans of every graph still run") {
  for (PruneCase& c : all_cases()) {
    CAPTURE(c.name);
    const Plan plan = plan_for(c, "l1", {.percent = 0.97});
    for (const Plan::Layer& l : plan.layers) CHECK(l.kept() >= 1);
    nn::Layer small = apply(plan, c.model, c.images);
    CHECK(output(small, c.images).shape() == output(c.model, c.images).shape());
  }
}
