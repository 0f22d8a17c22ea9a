#include "nn/layer_changes.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "models/models.h"
#include "nn/layers.h"
#include "nn/state.h"
#include "quant/binary.h"
#include "quant/scheme.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::nn;
using test::contains;
using test::message_of;

namespace {

Layer original() {
  Layer net = Sequential({Conv2d({.in = 4, .out = 8, .kernel = 3, .groups = 2, .bias = false}),
                          BatchNorm2d(8, {.eps = 0.5f}), ReLU(),
                          ConvTranspose2d({.in = 8, .out = 6, .kernel = 2}), LayerNorm(6),
                          Flatten(), Linear({6 * 9, 5})});
  assign_paths(net);
  return net;
}

std::vector<Layer>& layers(Layer& net) { return net.as<Sequential>()->layers; }

std::map<std::string, Shape> shapes(const Layer& model) {
  std::map<std::string, Shape> all;
  for (const auto& [name, t] : state_dict(model)) all[name] = t.shape();
  return all;
}

}  // namespace

TEST_CASE("layer changes: what a rewrite did can be done again") {
  Layer first = original(), now = original();
  CHECK(layer_changes(first, now).empty());
  layers(now)[0] = Conv2d({.in = 4, .out = 6, .kernel = 3, .groups = 1});
  layers(now)[1] = {};
  layers(now)[3] = ConvTranspose2d({.in = 6, .out = 3, .kernel = 2});
  layers(now)[4] = LayerNorm(3);
  layers(now)[6] = Linear({27, 5, false});
  const LayerChanges changes = layer_changes(first, now);
  CHECK(changes.size() == 5);
  CHECK(changes.at("0") == LayerChange{.out = 6, .groups = 1, .bias = true});
  CHECK(changes.at("1") == LayerChange{.removed = true});
  CHECK(changes.at("3") == LayerChange{.in = 6, .out = 3});
  CHECK(changes.at("4") == LayerChange{.out = 3});
  CHECK(changes.at("6") == LayerChange{.in = 27, .bias = false});

  set_training(first, false);
  apply_changes(first, changes);
  CHECK(shapes(first) == shapes(now));
  CHECK(layer_changes(first, now).empty());
  CHECK_FALSE(layers(first)[0]->training);
  CHECK(layers(first)[0]->path == "0");
  const NoGrad guard;
  CHECK(first(Tensor::ones({2, 4, 4, 4})).shape() == Shape{2, 5});
}

TEST_CASE("layer changes: options that stay") {
  Layer first = original(), now = original();
  layers(first)[0].as<Conv2d>()->weight_fn = quant::BinaryWeight();
  layers(now)[1] = BatchNorm2d(4);
  layers(now)[0] = Conv2d({.in = 4, .out = 4, .kernel = 3, .groups = 2, .bias = false});
  apply_changes(first, layer_changes(first, now));
  CHECK(layers(first)[1].as<BatchNorm2d>()->opt.eps == 0.5f);
  CHECK(layers(first)[0].as<Conv2d>()->opt.kernel == Hw(3));
  CHECK(layers(first)[0].as<Conv2d>()->weight_fn.as<quant::BinaryWeight>());
}

TEST_CASE("layer changes: quantizers and wrappers around layers are no changes") {
  const models::Options options{.widths = {6, 5, 4, 6, 6, 6, 6, 6}};
  for (const char* scheme : {"wbab:W2A2", "wqaq:W4A4", "W=binary,A=binary,xnor=on"}) {
    const std::string name = scheme;
    CAPTURE(name);
    Layer plain = models::make("nin", options), quantized = models::make("nin", options);
    quant::apply(quantized, quant::parse_scheme(scheme));
    CHECK(layer_changes(plain, quantized).empty());

    models::Options narrow = options;
    narrow.widths[3] = 3;
    Layer pruned = models::make("nin", narrow);
    quant::apply(pruned, quant::parse_scheme(scheme));
    const LayerChanges changes = layer_changes(plain, pruned);
    CHECK(changes.size() == 3);  // the convolution, its norm, the next convolution
    apply_changes(plain, changes);
    quant::apply(plain, quant::parse_scheme(scheme));
    CHECK(shapes(plain) == shapes(pruned));
  }
}

TEST_CASE("layer changes of another model are refused") {
  Layer net = original();
  CHECK(contains(message_of([&] {
                   apply_changes(net, {{"7", {.out = 3}}, {"8", {}}});
                 }),
                 "the model has no layer 7, 8"));
  CHECK(contains(message_of([&] {
                   apply_changes(net, {{"9", {.removed = true}}});
                 }),
                 "the model has no layer 9"));
  CHECK(contains(message_of([&] {
                   apply_changes(net, {{"2", {.out = 3}}});
                 }),
                 "2: ReLU cannot be changed"));
  CHECK(contains(message_of([&] {
                   apply_changes(net, {{"1", {.in = 3}}});
                 }),
                 "1: BatchNorm2d(8, eps=0.5) has nothing of this kind to change"));
  CHECK(contains(message_of([&] { apply_changes(net, {{"6", {.groups = 3}}}); }), "6: Linear"));
  CHECK(contains(message_of([&] {
                   apply_changes(net, {{"0", {.out = 7}}});
                 }),
                 "cannot be cut into 2 groups"));
  CHECK(contains(message_of([&] { apply_changes(net, {{"6", {.out = 0}}}); }), "must be positive"));
}
