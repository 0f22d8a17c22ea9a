#include "quant/attach.h"

#include <doctest/doctest.h>

#include <sstream>

#include "core/autograd.h"
#include "models/models.h"
#include "nn/init.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "quant/binary.h"
#include "quant/dorefa.h"
#include "quant/ternary.h"
#include "quant/xnor.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using quant::LayerInfo, quant::Spec;
using test::contains, test::message_of;

nn::Layer small_nin(const std::string& name = "nin") {
  models::Options o;
  o.widths = name == "nin_gc" ? std::vector<int64_t>{16, 16, 16, 32, 32, 32, 64, 64}
                              : std::vector<int64_t>{8, 8, 8, 8, 8, 8, 8, 8};
  nn::Layer model = models::make(name, o);
  Rng rng(1);
  nn::init(model, rng);
  return model;
}

Spec binary(const LayerInfo& info) {
  if (info.first() || info.last()) return {};
  return {.weight = quant::BinaryWeight(), .input = quant::BinaryActivation()};
}

const nn::Conv2d& conv_at(nn::Layer& model, const std::string& path) {
  const nn::Conv2d* found = nullptr;
  nn::for_each_layer(model, [&](const std::string& p, nn::Layer& layer) {
    if (p == path) found = layer.as<nn::Conv2d>();
  });
  REQUIRE(found);
  return *found;
}

Tensor image() {
  Rng rng(5);
  return Tensor::normal({2, 32, 32, 3}, rng);
}

TEST_CASE("attach: the rule sees every layer once, in order, with its place") {
  nn::Layer model = small_nin();
  std::vector<std::string> paths;
  const quant::Report report = quant::attach(model, [&](const LayerInfo& info) -> Spec {
    CHECK(info.index == static_cast<int>(paths.size()));
    CHECK(info.count == 9);
    CHECK(info.conv);
    CHECK_FALSE(info.linear);
    paths.push_back(info.path);
    return {};
  });
  CHECK(paths.front() == "model.0.conv");
  CHECK(paths.back() == "model.10.conv");
  CHECK(report.rows.size() == 9);
  for (const auto& row : report.rows) CHECK(row.bits == 32 * row.weights);
}

TEST_CASE("attach: what the rule returns is in the sockets, and in the report") {
  nn::Layer model = small_nin();
  const quant::Report report = quant::attach(model, binary);
  CHECK_FALSE(conv_at(model, "model.0.conv").weight_fn);
  CHECK_FALSE(conv_at(model, "model.10.conv").input_fn);
  CHECK(conv_at(model, "model.4.conv").weight_fn.as<quant::BinaryWeight>());
  CHECK(conv_at(model, "model.4.conv").input_fn.as<quant::BinaryActivation>());
  CHECK(conv_at(model, "model.4.conv").weight_fn->path == "model.4.conv.weight_fn");
  REQUIRE(report.rows.size() == 9);
  CHECK(report.rows[3].bits == report.rows[3].weights + 32 * 8);
  std::ostringstream text;
  text << report;
  CHECK(contains(text.str(), "model.4.conv"));
  CHECK(contains(text.str(), "BinaryActivation(ste=clip)"));
  CHECK(contains(text.str(), "total"));
}

TEST_CASE("attach: a rule may take a path and one kind of layer") {
  nn::Layer model = models::make("resnet20");
  quant::attach(model, [](std::string_view path, const nn::Conv2d& conv) -> Spec {
    if (path == "conv1") return {.weight = quant::DorefaWeight(8)};
    return {.weight = quant::DorefaWeight(conv.opt.out > 16 ? 4 : 2)};
  });
  const auto bits = [&](const std::string& path) {
    return conv_at(model, path).weight_fn.as<quant::DorefaWeight>()->bits();
  };
  CHECK(bits("conv1") == 8);
  CHECK(bits("layer1.0.conv1") == 2);
  CHECK(bits("layer3.2.conv2") == 4);
  int linears = 0;
  quant::attach(model, [&](std::string_view, const nn::Linear& linear) -> Spec {
    CHECK_FALSE(linear.weight_fn);
    ++linears;
    return {};
  });
  CHECK(linears == 1);
}

TEST_CASE("attach: a quantizer is replaced, anything else in a socket is an error") {
  nn::Layer model = small_nin();
  quant::attach(model, binary);
  quant::attach(model, [](const LayerInfo& info) -> Spec {
    return {.weight = quant::TernaryWeight({}, info.weight().shape())};
  });
  CHECK(conv_at(model, "model.4.conv").weight_fn.as<quant::TernaryWeight>());
  CHECK(conv_at(model, "model.4.conv").input_fn.as<quant::BinaryActivation>());  // left as it was

  nn::Conv2d conv({.in = 2, .out = 2});
  conv.weight_fn = nn::Tanh();
  nn::Layer taken = conv;
  CHECK(contains(message_of([&] {
                   quant::attach(taken, [](const LayerInfo&) -> Spec {
                     return {.weight = quant::BinaryWeight()};
                   });
                 }),
                 "weight_fn"));
}

TEST_CASE("attach: quantizers take over the layer's mode") {
  nn::Layer model = small_nin();
  nn::set_training(model, false);
  const Tensor before = conv_at(model, "model.4.conv").weight.clone();
  quant::attach(model, binary);
  CHECK_FALSE(conv_at(model, "model.4.conv").weight_fn->training);
  no_grad([&] { return model(image()); });
  CHECK(conv_at(model, "model.4.conv").weight == before);  // an evaluation stores nothing
}

TEST_CASE("attach: state dicts stay what they were") {
  for (const char* name : {"nin", "resnet20"}) {
    nn::Layer model = models::make(name);
    const auto before = nn::state_dict(model);
    quant::attach(model, binary);
    const auto after = nn::state_dict(model);
    REQUIRE(before.size() == after.size());
    for (const auto& [key, t] : before) {
      REQUIRE(after.count(key));
      CHECK(after.at(key) == t);
    }
  }
}

TEST_CASE("attach: a copy of a quantized model is on its own") {
  nn::Layer model = small_nin();
  quant::attach(model, binary);
  nn::Layer copy = model;
  nn::set_training(model, false);
  nn::set_training(copy, false);
  const Tensor x = image();
  CHECK(model(x) == copy(x));
  nn::set_training(copy, true);
  const Tensor kept = conv_at(model, "model.4.conv").weight.clone();
  const auto optimizer = nn::sgd(nn::param_groups(copy, 0), {.lr = 0.1f});
  cross_entropy(copy(x), Tensor::of({1, 2})).backward();
  optimizer->step();
  CHECK(conv_at(model, "model.4.conv").weight == kept);
  CHECK_FALSE(conv_at(copy, "model.4.conv").weight == kept);
}

TEST_CASE("attach: xnor_scale wraps a layer once") {
  nn::Layer model = small_nin();
  const auto rule = [](const LayerInfo& info) -> Spec {
    if (info.first() || info.last()) return {};
    return {
        .weight = quant::BinaryWeight(), .input = quant::BinaryActivation(), .xnor_scale = true};
  };
  const size_t params = nn::parameters(model).size();
  quant::attach(model, rule);
  quant::attach(model, rule);
  int wrappers = 0;
  nn::for_each_layer(model, [&](const std::string&, nn::Layer& layer) {
    wrappers += layer.as<quant::XnorConv2d>() != nullptr;
  });
  CHECK(wrappers == 7);
  CHECK(conv_at(model, "model.4.conv.conv").weight_fn.as<quant::BinaryWeight>());
  CHECK(nn::parameters(model).size() == params);
  cross_entropy(model(image()), Tensor::of({1, 2})).backward();
  for (const nn::NamedTensor& p : nn::parameters(model)) {
    CAPTURE(p.name);
    CHECK(p.tensor.grad());
  }
}

TEST_CASE("activations: where they stand") {
  nn::Layer nin = small_nin();
  const auto in_nin = quant::activations(nin);
  REQUIRE(in_nin.size() == 9);
  for (size_t i = 0; i < 9; ++i) {
    CHECK(in_nin[i].in_chain);
    CHECK(in_nin[i].between_layers() == (i < 8));
  }
  nn::Layer resnet = models::make("resnet20");
  const auto in_resnet = quant::activations(resnet);
  REQUIRE(in_resnet.size() == 19);  // one behind the stem, two in each of nine blocks
  for (const auto& a : in_resnet) {
    CHECK(a.between_layers());
    CHECK_FALSE(a.in_chain);
  }
  nn::Layer vgg = models::make("vgg16_bn");
  for (const auto& a : quant::activations(vgg)) CHECK(a.in_chain);
}

TEST_CASE("activations: one in a socket belongs to its layer") {
  nn::Conv2d conv({.in = 2, .out = 2});
  conv.input_fn = nn::ReLU6();
  nn::Layer model = nn::Sequential({conv, nn::ReLU(), conv});
  CHECK(quant::activations(model).size() == 1);
}

TEST_CASE("replace_activations: an empty layer is the identity") {
  nn::Layer model = nn::Sequential({nn::ReLU(), nn::Tanh()});
  const quant::Report report =
      quant::replace_activations(model, [](const quant::ActivationInfo& a) -> quant::Replacement {
        return {.replace = a.activation->f.kind == Pointwise::Kind::relu, .layer = {}};
      });
  REQUIRE(report.rows.size() == 1);
  CHECK(report.rows[0].input == "removed");
  CHECK(model(Tensor::of({-0.5f})).item() < 0);
}

}  // namespace
}  // namespace pare
