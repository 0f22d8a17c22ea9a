#include "prune/apply.h"

#include <doctest/doctest.h>

#include "nn/describe.h"
#include "nn/layer_changes.h"
#include "nn/state.h"
#include "quant/scheme.h"
#include "tests/prune/cases.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::prune;
using namespace pare::test;

TEST_CASE("apply: every graph computes what the big one does with the removed channels silent") {
  for (PruneCase& c : all_cases()) {
    CAPTURE(c.name);
    const Plan plan = plan_for(c, "random", {.percent = 0.4});
    CHECK(plan.kept() < plan.channels());
    nn::Layer silent = c.model;
    silence(plan, silent, c.images);
    nn::Layer small = apply(plan, c.model, c.images);
    const Tensor want = output(silent, c.images), plain = output(c.model, c.images);
    // Sums over fewer channels are cut into vectors elsewhere: the last bits may differ.
    CHECK(close(output(small, c.images), want, {.relative = 1e-5}));
    CHECK_FALSE(close(plain, want, {.relative = 1e-3}));
  }
}

TEST_CASE("apply: what the plan says it will cost is what the model costs") {
  for (PruneCase& c : library_cases()) {
    CAPTURE(c.name);
    const Plan plan = plan_for(c, "random", {.percent = 0.3});
    const Shape image{c.images.dim(1), c.images.dim(2), c.images.dim(3)};
    nn::Layer small = apply(plan, c.model, c.images);
    const nn::Summary before = nn::summarize(c.model, image), after = nn::summarize(small, image);
    CHECK(plan.before.params == doctest::Approx(static_cast<double>(before.params)).epsilon(1e-12));
    CHECK(plan.after.params == doctest::Approx(static_cast<double>(after.params)).epsilon(1e-12));
    CHECK(plan.before.macs == doctest::Approx(static_cast<double>(before.macs)).epsilon(1e-12));
    CHECK(plan.after.macs == doctest::Approx(static_cast<double>(after.macs)).epsilon(1e-12));
    CHECK(plan.before.bytes == static_cast<double>(before.bytes_quantized));
    CHECK(plan.after.bytes == doctest::Approx(static_cast<double>(after.bytes_quantized)));
    CHECK(after.macs < before.macs);
  }
}

TEST_CASE("apply: the small model is rebuilt from what changed about its layers") {
  for (PruneCase& c : all_cases()) {
    CAPTURE(c.name);
    nn::Layer small = apply(plan_for(c, "l1", {.percent = 0.5}), c.model, c.images);
    nn::Layer rebuilt = c.model;
    nn::apply_changes(rebuilt, nn::layer_changes(c.model, small));
    nn::load_state_dict(rebuilt, nn::state_dict(small));
    CHECK(output(rebuilt, c.images) == output(small, c.images));
    CHECK(nn::layer_changes(rebuilt, small).empty());
  }
}

TEST_CASE("apply: channels that batch norm has switched off are removed without a trace") {
  const nn::Layer net =
      nn::Sequential({conv(3, 8), nn::BatchNorm2d(8), nn::ReLU(), conv(8, 6), nn::BatchNorm2d(6),
                      nn::ReLU(), nn::GlobalAvgPool2d(), nn::Flatten(), nn::Linear({6, 2})});
  PruneCase c = odd_case("chain", net);
  auto& layers = c.model.as<nn::Sequential>()->layers;
  const auto switch_off = [&](size_t layer, std::initializer_list<int> channels) {
    for (int i : channels) {
      layers[layer].as<nn::BatchNorm2d>()->weight.data()[i] = 0;
      layers[layer].as<nn::BatchNorm2d>()->bias.data()[i] = 0;
    }
  };
  switch_off(1, {0, 3, 4, 7});
  switch_off(4, {1, 5});
  const Plan plan = plan_for(c, "slimming", {.percent = 6.0 / 14});
  REQUIRE(plan.layers.size() == 3);
  CHECK(plan.layers[0].keep == std::vector<int64_t>{1, 2, 5, 6});
  CHECK(plan.layers[1].keep == std::vector<int64_t>{0, 2, 3, 4});
  CHECK(plan.layers[2].note == "channels of the output");
  nn::Layer small = apply(plan, c.model, c.images);
  CHECK(output(small, c.images) == output(c.model, c.images));  // bit for bit
  CHECK(small.as<nn::Sequential>()->layers[3].as<nn::Conv2d>()->weight.shape() ==
        Shape{4, 3, 3, 4});
}

TEST_CASE("apply: quantizers in the sockets are cut along") {
  PruneCase c = library_case("resnet20", {.widths = {8, 8, 8}});
  quant::apply(c.model, quant::parse_scheme("wqaq:W4A4"));
  const Plan plan = plan_for(c, "random", {.percent = 0.3});
  nn::Layer small = apply(plan, c.model, c.images);
  nn::Layer rebuilt = models::make("resnet20", {.widths = {8, 8, 8}});
  nn::Layer original = rebuilt;
  nn::apply_changes(rebuilt, nn::layer_changes(original, small));
  quant::apply(rebuilt, quant::parse_scheme("wqaq:W4A4"));
  nn::load_state_dict(rebuilt, nn::state_dict(small));
  CHECK(output(rebuilt, c.images) == output(small, c.images));

  // Bytes are those of packed weights: whole ones for each layer.
  const auto bytes = [](nn::Layer& model) {
    return static_cast<double>(nn::summarize(model, {32, 32, 3}).bytes_quantized);
  };
  CHECK(plan.before.bytes == doctest::Approx(bytes(c.model)).epsilon(0.001));
  CHECK(plan.before.bytes < 3 * plan.before.params);  // floats would take 4 each
  CHECK(plan.after.bytes == doctest::Approx(bytes(small)).epsilon(0.01));
}

TEST_CASE("apply: the big model, its modes and its gradients' wishes stay") {
  PruneCase c = library_case("lenet5", {.image = {28, 28, 1}});
  const auto before = nn::state_dict(nn::Layer(c.model));
  const Plan plan = plan_for(c, "l2", {.percent = 0.5});
  nn::Layer small = apply(plan, c.model, c.images);
  for (const auto& [name, t] : nn::state_dict(c.model)) CHECK(t == before.at(name));
  for (const nn::NamedTensor& p : nn::parameters(small)) CHECK(p.tensor.requires_grad());
  CHECK(small->training);
}

TEST_CASE("apply: models with channel numbers in their code are refused") {
  PruneCase c = odd_case(
      "fixed", OddNet({{"a", conv(3, 8)}, {"b", nn::Linear({8, 4})}, {"c", nn::Linear({4, 2})}},
                      [](const Parts& p, const Tensor& x) {
                        const Tensor h = mean(p["a"](x), {1, 2});
                        return p["c"](p["b"](reshape(h, {x.dim(0), 8})));
                      }));
  const Plan plan = plan_for(c, "l1", {.percent = 0.5});
  const std::string message = message_of([&] { apply(plan, c.model, c.images); });
  CHECK(contains(message, "the pruned model does not run"));
  CHECK(contains(message, "written in the model's code"));
}

TEST_CASE("apply: plans that do not fit the groups of convolutions are refused") {
  PruneCase c = odd_case("groups", nn::Sequential({conv(3, 8), conv(8, 8, 2), conv(8, 2)}));
  const Plan uneven{.method = "", .layers = {{.name = "0", .channels = 8, .keep = {0, 1, 2, 4}}}};
  CHECK(contains(message_of([&] { apply(uneven, c.model, c.images); }),
                 "equally many channels must stay in each group"));
  const Plan even{.method = "", .layers = {{.name = "0", .channels = 8, .keep = {0, 1, 4, 5}}}};
  CHECK(message_of([&] { apply(even, c.model, c.images); }).empty());
}
