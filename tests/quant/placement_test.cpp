#include "quant/placement.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "core/autograd.h"
#include "models/models.h"
#include "nn/glob.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "nn/state.h"
#include "nn/trace.h"
#include "quant/calibrate.h"
#include "tests/nn/odd_net.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using namespace quant;
using test::contains, test::message_of, test::OddNet, test::Parts;
using Kind = Plan::Kind;

Tensor image(int64_t n = 1, int64_t channels = 3) {
  Rng rng(5);
  return Tensor::normal({n, 16, 16, channels}, rng);
}

nn::Layer conv(int64_t in, int64_t out) {
  return nn::Conv2d({.in = in, .out = out, .kernel = 3, .pad = 1, .bias = false});
}

nn::Layer filled(nn::Layer model) {
  Rng rng(1);
  nn::init(model, rng);
  return model;
}

nn::Layer resnet() {
  models::Options o;
  o.widths = {4, 8, 8};
  o.image = {16, 16, 3};
  o.shortcut = "A";
  return filled(models::make("resnet20", o));
}

/// Everything with 8 bits.
PlacementRules everything() {
  PlacementRules rules;
  rules.spec = [](Role role, const std::string&, const LayerInfo*) -> std::optional<QuantizerSpec> {
    return parse_spec("uniform:8", role);
  };
  return rules;
}

std::set<std::string> places(const Plan& plan) {
  std::set<std::string> all;
  for (const Placement& p : plan.placements()) all.insert(to_string(p));
  return all;
}

const Plan::Row& row(const Plan& plan, const std::string& node, size_t which = 0) {
  for (const Plan::Row& r : plan.rows) {
    if (r.node == node && which-- == 0) return r;
  }
  throw Error("no row for " + node);
}

Tensor output(nn::Layer& model, const Tensor& x) {
  const nn::EvalMode eval(model);
  const NoGrad guard;
  return model(x);
}

bool equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.numel(), b.data());
}

TEST_CASE("glob: stars and question marks") {
  CHECK(nn::glob("layer1.*.conv?", "layer1.0.conv2"));
  CHECK(nn::glob("*", ""));
  CHECK(nn::glob("a*b*c", "a.b.b.c"));
  CHECK_FALSE(nn::glob("a*b*c", "a.b.b.d"));
  CHECK_FALSE(nn::glob("conv", "conv1"));
  CHECK_FALSE(nn::glob("conv?", "conv"));
  CHECK(nn::glob("****", "x"));
}

TEST_CASE("placement: a residual network quantizes what its layers and its average pool read") {
  nn::Layer model = resnet();
  const Plan p = plan(model, image(), everything());
  const std::set<std::string> where = places(p);
  CHECK(where.size() == 20 * 2 + 1);  // weight and input of each layer, and the pool's input
  CHECK(where.count("conv1.input_fn"));
  CHECK(where.count("layer2.0.conv2.weight_fn"));
  CHECK(where.count("linear.input_fn"));
  CHECK(where.count("layer3.2.act2.output_fn"));  // what the pool reads, and nothing else does
  CHECK(row(p, "bn1").kind == Kind::follows);
  CHECK(row(p, "layer1.0.act2").why == "computed along with layer1.0.add");
  CHECK(row(p, "layer1.0.act1").why == "computed along with layer1.0.conv1");
  CHECK(row(p, "layer1.0.add").kind == Kind::stays);
  CHECK(row(p, "flatten").kind == Kind::passes);
  CHECK(row(p, "layer2.0.shortcut.pad").kind == Kind::passes);
}

TEST_CASE("placement: both operands of a sum, where there is a place for each") {
  nn::Layer model = resnet();
  PlacementRules rules = everything();
  rules.sums = true;
  const Plan p = plan(model, image(), rules);
  const std::set<std::string> where = places(p);
  CHECK(where.size() == 41 + 9 * 2);
  CHECK(where.count("layer1.0.bn2.output_fn"));
  CHECK(where.count("layer1.0.shortcut.output_fn"));  // an identity until then
  CHECK(where.count("layer2.0.shortcut.output_fn"));  // a module of its own

  // What was there computes the same, and the quantizers really are on both sides of the sum.
  const Tensor x = image(2), before = output(model, x);
  nn::Layer quantized = model;
  place(quantized, p.placements());
  set_mode(quantized, Quantizer::Mode::off);
  CHECK(equal(output(quantized, x), before));
  set_mode(quantized, Quantizer::Mode::quantize);
  calibrate(quantized, {x});
  CHECK_FALSE(equal(output(quantized, x), before));
  const nn::Graph graph = nn::trace(quantized, x);
  const int sum = graph.find("layer1.0.add");
  REQUIRE(sum >= 0);
  std::set<std::string> operands;
  for (const int i : graph[sum].inputs) operands.insert(graph[i].name);
  CHECK(operands == std::set<std::string>{"layer1.0.bn2.output_fn", "layer1.0.shortcut.output_fn"});
}

TEST_CASE("placement: a value with another reader has no place of its own") {
  const auto net = [](const Parts& p, const Tensor& x) {
    const Tensor h = p["a"](x);
    return global_avg_pool2d(p["b"](h) + h);
  };
  nn::Layer model = filled(OddNet({{"a", conv(3, 4)}, {"b", conv(4, 4)}}, net));
  PlacementRules rules = everything();
  rules.sums = true;
  const Plan p = plan(model, image(), rules);
  CHECK(places(p).count("b.output_fn"));
  CHECK_FALSE(places(p).count("a.output_fn"));
  CHECK(contains(row(p, "add", 1).why, "no module hands this value to add alone"));
  CHECK(contains(row(p, "mean").why, "no module"));
}

TEST_CASE("placement: what is concatenated is quantized as a whole by what reads it") {
  const auto net = [](const Parts& p, const Tensor& x) {
    const Tensor h = max_pool2d(p["stem"](x), {.kernel = 2, .stride = 2});
    return p["last"](concat({p["a"](h), p["b"](h)}, 3));
  };
  nn::Layer model = filled(OddNet(
      {{"stem", conv(3, 4)}, {"a", conv(4, 2)}, {"b", conv(4, 2)}, {"last", conv(4, 4)}}, net));
  const Plan p = plan(model, image(), everything());
  CHECK(places(p).size() == 8);
  CHECK(row(p, "concat").kind == Kind::passes);
  CHECK(row(p, "max_pool2d").kind == Kind::passes);
  CHECK(row(p, "last", 1).value == "concat");
  CHECK(row(p, "a", 1).value == "max_pool2d");  // two readers, two quantizers
  CHECK(row(p, "b", 1).value == "max_pool2d");
}

TEST_CASE("placement: a nonlinearity or batch norm on its own is quantized, a follower is not") {
  const auto model = [] {
    return filled(nn::Sequential({conv(3, 4), nn::MaxPool2d({.kernel = 2, .stride = 2}), nn::ReLU(),
                                  nn::BatchNorm2d(4), nn::Sigmoid(), conv(4, 4),
                                  nn::AvgPool2d({.kernel = 2, .stride = 2}), nn::ReLU()}));
  };
  nn::Layer net = model();
  const Plan p = plan(net, image(), everything());
  CHECK(row(p, "2").why == "computed along with 0");  // a pool in between only moves values
  CHECK(places(p).count("3.input_fn"));               // behind a nonlinearity
  CHECK(row(p, "4").why == "computed along with 3");
  CHECK(places(p).count("6.input_fn"));
  CHECK(places(p).count("7.input_fn"));
  CHECK_FALSE(places(p).count("4.input_fn"));

  PlacementRules unchained = everything();
  unchained.chains = false;
  nn::Layer other = model();
  const std::set<std::string> all = places(plan(other, image(), unchained));
  CHECK(all.count("2.input_fn"));
  CHECK(all.count("4.input_fn"));
}

TEST_CASE("placement: a value that is read before its batch norm, too, is stored") {
  const auto net = [](const Parts& p, const Tensor& x) {
    const Tensor h = p["conv"](x);
    return p["act"](p["bn"](h)) + h;
  };
  nn::Layer model =
      filled(OddNet({{"conv", conv(3, 4)}, {"bn", nn::BatchNorm2d(4)}, {"act", nn::ReLU()}}, net));
  const Plan p = plan(model, image(), everything());
  CHECK(places(p).count("bn.input_fn"));
  CHECK(row(p, "act").why == "computed along with bn");
}

TEST_CASE("placement: modules that are left alone, and names that fit nothing") {
  nn::Layer model = resnet();
  PlacementRules rules = everything();
  rules.skip = {"layer2.*", "first"};
  const Plan p = plan(model, image(), rules);
  CHECK(places(p).size() == 41 - 2 * 6 - 2);
  CHECK(row(p, "layer2.1.conv1").why == "left alone: layer2.*");
  rules.skip = {"layer2"};  // a module that holds layers
  CHECK(places(plan(model, image(), rules)).size() == 41 - 2 * 6);
  rules.skip = {"layer9*"};
  CHECK(contains(message_of([&] { plan(model, image(), rules); }), "layer9* fits nothing"));
  rules.skip = {};
  rules.patterns = {"layer1_0_conv1"};  // as torch.fx writes it
  CHECK_NOTHROW(plan(model, image(), rules));
}

TEST_CASE("placement: a layer that runs twice gets its quantizers once") {
  const auto net = [](const Parts& p, const Tensor& x) { return p["same"](p["same"](x)); };
  nn::Layer model = filled(OddNet({{"same", conv(3, 3)}}, net));
  const Plan p = plan(model, image(), everything());
  CHECK(places(p).size() == 2);
  CHECK(contains(row(p, "same#2").why, "runs twice"));
}

TEST_CASE("placement: quantizers that are there already are an error") {
  nn::Layer model = resnet();
  place(model, plan(model, image(), everything()).placements());
  CHECK(
      contains(message_of([&] { plan(model, image(), everything()); }), "has quantizers already"));
}

TEST_CASE("place: what a checkpoint says builds the same model again") {
  nn::Layer model = resnet();
  PlacementRules rules = everything();
  rules.sums = true;
  std::vector<Placement> placements = plan(model, image(), rules).placements();
  nn::Layer quantized = model;
  const Report report = place(quantized, placements);
  CHECK(report.rows.size() == 20 + 1 + 18);
  calibrate(quantized, {image(4)});

  std::vector<Placement> again;
  for (const Placement& p : placements) {
    Placement q = parse_placement(to_string(p));
    q.spec = parse_spec(to_string(p.spec), p.spec.role);
    q.channels = p.channels;
    CHECK(q == p);
    again.push_back(q);
  }
  nn::Layer copy = resnet();
  place(copy, again);
  nn::load_state_dict(copy, nn::state_dict(quantized));
  CHECK(equal(output(copy, image(2)), output(quantized, image(2))));
}

TEST_CASE("place: bad plans are refused") {
  nn::Layer model = resnet();
  const QuantizerSpec input = parse_spec("uniform:8", Role::activation);
  const auto placed = [&](const Placement& p) {
    return message_of([&] {
      nn::Layer copy = model;
      place(copy, {p});
    });
  };
  CHECK(contains(placed({"layer7.conv", Socket::input, input}), "no place called layer7.conv"));
  CHECK(contains(placed({"conv1", Socket::weight, input}), "is not for activations"));
  CHECK(contains(placed({"bn1", Socket::weight, parse_spec("uniform:8", Role::weight)}),
                 "has no weight"));
  CHECK(contains(message_of([] { parse_placement("conv1.weight"); }), "is not the place"));
  CHECK(contains(message_of([] { parse_spec("uniform:8,observer", Role::weight); }),
                 "is not option=value"));
}

TEST_CASE("place: one scale per channel where there is no layer to ask") {
  nn::Layer model = resnet();
  PlacementRules rules = everything();
  rules.spec = [](Role role, const std::string&, const LayerInfo*) -> std::optional<QuantizerSpec> {
    return parse_spec("uniform:8,per=channel", role);
  };
  rules.sums = true;
  const std::vector<Placement> placements = plan(model, image(), rules).placements();
  place(model, placements);
  CHECK_NOTHROW(calibrate(model, {image(2)}));
}

}  // namespace
}  // namespace pare
