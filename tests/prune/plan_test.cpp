#include "prune/plan.h"

#include <doctest/doctest.h>

#include "tests/prune/cases.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::prune;
using namespace pare::test;

namespace {

std::vector<std::vector<int64_t>> kept(const Plan& plan) {
  std::vector<std::vector<int64_t>> all;
  for (const Plan::Layer& l : plan.layers) all.push_back(l.keep);
  return all;
}

}  // namespace

TEST_CASE("plan: saved and loaded it is the same, on every graph") {
  for (PruneCase& c : all_cases()) {
    CAPTURE(c.name);
    const Plan plan = plan_for(c, "random", {.percent = 0.3});
    const Structure s(c.model, c.images);
    const Plan again = completed(parse_plan(to_yaml(plan), "plan.yaml"), s);
    CHECK(again.method == "random");
    CHECK(kept(again) == kept(plan));
    CHECK(again.after.macs == plan.after.macs);
    CHECK(to_yaml(again) == to_yaml(plan));
  }
}

TEST_CASE("plan: as YAML") {
  const Plan plan{.method = "l1",
                  .layers = {{.name = "conv1", .channels = 8, .keep = {0, 1, 2, 5, 7}},
                             {.name = "fc", .channels = 2, .keep = {1}}}};
  CHECK(to_yaml(plan) ==
        "method: l1\n"
        "layers:\n"
        "  \"conv1\": {channels: 8, keep: [0-2, 5, 7]}\n"
        "  \"fc\": {channels: 2, keep: [1]}\n");
  CHECK(to_yaml(Plan{}) == "layers: {}\n");
  CHECK(parse_plan(to_yaml(Plan{}), "p").layers.empty());
}

TEST_CASE("plan: what is wrong with a file is said with its line") {
  const auto error = [](const std::string& text) {
    return message_of([&] { parse_plan(text, "p.yaml"); });
  };
  CHECK(contains(error("layers:\n  a: {channels: 4, kept: [0]}\n"), "p.yaml:2: unknown key"));
  CHECK(contains(error("layers:\n  a: {channels: 4, keep: [4]}\n"), "below 4, got '4'"));
  CHECK(contains(error("layers:\n  a: {channels: 4, keep: [2-1]}\n"), "got '2-1'"));
  CHECK(contains(error("layers:\n  a: {channels: 4, keep: [x]}\n"), "got 'x'"));
  CHECK(contains(error("layers:\n  a: {channels: 4, keep: [1-]}\n"), "got '1-'"));
  CHECK(contains(error("layers:\n  a: {channels: 4, keep: [2, 1]}\n"), "must ascend"));
  CHECK(contains(error("layers:\n  a: {channels: 4, keep: [1, 1]}\n"), "must ascend"));
  CHECK(contains(error("layers:\n  a: {channels: 0, keep: [0]}\n"), "whole number from 1"));
  CHECK(contains(error("method: l1\n"), "the key layers is missing"));
}

TEST_CASE("plan: of another model") {
  PruneCase c = odd_case("chain", nn::Sequential({conv(3, 8), conv(8, 6), conv(6, 2)}));
  const Structure s(c.model, c.images);
  const auto error = [&](const Plan::Layer& layer) {
    return message_of([&] { keep_of({.method = "", .layers = {layer}}, s); });
  };
  CHECK(
      contains(error({.name = "conv9", .channels = 8, .keep = {0}}), "no channels made by conv9"));
  CHECK(contains(error({.name = "0", .channels = 16, .keep = {0}}),
                 "it has 16 channels for 0, the model 8"));
  CHECK(contains(error({.name = "0", .channels = 8, .keep = {}}), "left without channels"));
  CHECK(contains(error({.name = "0", .channels = 8, .keep = {8}}), "must ascend from 0 to 7"));
  CHECK(contains(error({.name = "0", .channels = 8, .keep = {2, 2}}), "must ascend from 0 to 7"));
  CHECK(contains(error({.name = "2", .channels = 2, .keep = {0}}),
                 "cannot be removed: channels of the output"));
  CHECK(error({.name = "2", .channels = 2, .keep = {0, 1}}).empty());
}

TEST_CASE("plan: what it does not name stays whole") {
  PruneCase c = odd_case("chain", nn::Sequential({conv(3, 8), conv(8, 6), conv(6, 2)}));
  const Plan part{.method = "", .layers = {{.name = "1", .channels = 6, .keep = {2, 3}}}};
  const Plan whole = completed(part, Structure(c.model, c.images));
  REQUIRE(whole.layers.size() == 3);
  CHECK(whole.layers[0].kept() == 8);
  CHECK(whole.layers[1].keep == std::vector<int64_t>{2, 3});
  CHECK(whole.before.params == 9 * (3 * 8 + 8 * 6 + 6 * 2));
  CHECK(whole.after.params == 9 * (3 * 8 + 8 * 2 + 2 * 2));
  CHECK(whole.after.macs == 64 * whole.after.params);
}

TEST_CASE("plan: prints as a table") {
  PruneCase c = odd_case("sum", OddNet({{"a", conv(3, 8)}, {"b", conv(3, 8)}, {"c", conv(8, 2)}},
                                       [](const Parts& p, const Tensor& x) {
                                         const Tensor a = p["a"](x);
                                         return p["c"](a + p["b"](x));
                                       }));
  const Plan part{.method = "",
                  .layers = {{.name = "a", .channels = 8, .keep = {0, 1, 2, 3}, .note = "why"}}};
  CHECK(str(completed(part, Structure(c.model, c.images))) ==
        "layer  channels  stay  tied with\n"
        "a      8         4     b          why\n"
        "c      2         2                channels of the output\n"
        "total  10        6\n"
        "parameters 0.6 k -> 0.3 k (-50.0 %)\n"
        "MACs       36.9 k -> 18.4 k (-50.0 %)\n"
        "bytes      2.3 k -> 1.2 k (-50.0 %)\n");
}
