// Files read back compute what the exported model computes, and are models of this library.
#include "deploy/onnx/import.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "deploy/onnx/export.h"
#include "deploy/onnx/fixed_quantizer.h"
#include "nn/state.h"
#include "quant/fold_bn.h"
#include "tests/onnx/zoo.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::onnx;
using test::contains;
using test::message_of;
using test::ZooCase;

namespace {

/// Through bytes, as a file goes.
nn::Layer again(nn::Layer& model, const Tensor& example, const ExportOptions& options) {
  const std::string bytes = to_bytes(export_model(model, example, options).model);
  return import_model(parse_model(bytes, "test")).model;
}

struct Gap {
  double rms = 0, spread = 0;
};
Gap gap(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double sum = 0, squares = 0, error = 0;
  const auto n = static_cast<double>(a.numel());
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double x = a.data()[i], d = x - b.data()[i];
    sum += x, squares += x * x, error += d * d;
  }
  return {std::sqrt(error / n), std::sqrt(squares / n - sum / n * (sum / n))};
}

std::vector<ZooCase> small_zoo() {
  return {{"nin", {.widths = {8, 8, 8, 8, 8, 8, 8, 8}}},
          {"nin_gc", {.widths = {32, 32, 32, 32, 32, 32, 32, 32}}},
          {"resnet20", {.widths = {4, 6, 8}}},
          {"resnet20", {.widths = {4, 6, 8}, .shortcut = "A"}, "pad"},
          {"lenet5", {.image = {28, 28, 1}}},
          {"squeezenet1_0", {.image = {32, 32, 3}}},
          {"mobilenet_v2", {.image = {32, 32, 3}}}};
}

NodeProto node(const std::string& op, std::vector<std::string> inputs) {
  return {.op = op, .name = "n", .inputs = std::move(inputs), .outputs = {"y"}};
}
ModelProto model_of(std::vector<NodeProto> nodes) {
  ModelProto m;
  m.graph.inputs = {{.name = "x", .dims = {{.size = 1}, {.size = 3}, {.size = 4}, {.size = 4}}}};
  m.graph.outputs = {{.name = "y"}};
  m.graph.nodes = std::move(nodes);
  return m;
}

}  // namespace

TEST_CASE("onnx import: float networks give the same values") {
  for (const ZooCase& c : small_zoo()) {
    for (bool fold : {true, false}) {
      CAPTURE(test::title(c));
      CAPTURE(fold);
      nn::Layer model = test::zoo_model(c);
      const Tensor x = test::zoo_images(c, 3, 21);
      nn::Layer other = again(model, x, {.fold_bn = fold});
      const NoGrad guard;
      const Gap g = gap(model(x), other(x));
      CHECK(g.rms < 1e-4 * g.spread);
    }
  }
}

TEST_CASE("onnx import: quantized networks, up to values that fall between two codes") {
  for (const ZooCase& c : small_zoo()) {
    if (c.name == "mobilenet_v2") continue;  // too deep for random weights: its noise is all noise
    for (const char* scheme : {"uniform:W8A8,keep=none", "lsq:W4A4", "pact:W4A4", "iao:W8A8",
                               "wbab:W2A2", "wbab:W3A3", "wqaq:W4A4", "wbab:W2A2,xnor=on"}) {
      if (*scheme == 'w' && !c.name.starts_with("nin")) continue;
      CAPTURE(test::title(c));
      CAPTURE(scheme);
      nn::Layer model = test::zoo_model(c), plain = model;
      test::quantize_zoo(model, c, scheme);
      const Tensor x = test::zoo_images(c, 3, 21);
      nn::Layer other = again(model, x, {.qdq = true, .fill = false});
      const NoGrad guard;
      const Tensor y = model(x);
      // Codes that fall on the other side make others do so: deep down, as much as quantization
      // costs.
      const Gap file = gap(y, other(x)), quantization = gap(y, plain(x));
      CHECK(file.rms < 1.2 * quantization.rms + 1e-3 * file.spread);
    }
  }
}

TEST_CASE("onnx import: binary and ternary activations are quantizers again") {
  const ZooCase c{"nin", {.widths = {8, 8, 8, 8, 8, 8, 8, 8}}};
  for (const char* scheme : {"wbab:W2A2", "wbab:W3A3"}) {
    for (bool qdq : {true, false}) {
      CAPTURE(scheme);
      CAPTURE(qdq);
      nn::Layer model = test::zoo_model(c);
      test::quantize_zoo(model, c, scheme);
      const Tensor x = test::zoo_images(c, 4, 21);
      nn::Layer other = again(model, x, {.qdq = qdq, .fill = false});
      int signs = 0;
      nn::for_each_layer(other, [&](const std::string&, nn::Layer& layer) {
        const auto* q = layer.as<FixedQuantizer>();
        signs += q && q->form.kind != nn::Codes::Kind::uniform;
      });
      CHECK(signs == 8);
      const NoGrad guard;
      const Gap g = gap(model(x), other(x));
      // Integer biases are exact in front of signs, and not in front of two thresholds.
      if (!qdq || scheme == std::string("wbab:W2A2")) CHECK(g.rms < 1e-3 * g.spread);
      nn::Layer third = again(other, x, {.qdq = qdq, .fill = false});
      const Gap back = gap(other(x), third(x));
      CHECK(back.rms < 1e-3 * back.spread);
    }
  }
}

TEST_CASE("onnx import: files that are damaged are refused, or are some model") {
  const ZooCase c{"nin", {.widths = {4, 4, 4, 4, 4, 4, 4, 4}}};
  nn::Layer model = test::zoo_model(c);
  test::quantize_zoo(model, c, "wbab:W2A2");
  const std::string bytes =
      to_bytes(export_model(model, test::zoo_images(c, 2, 21), {.qdq = true}).model);
  int refused = 0;
  const auto read = [&](const std::string& damaged) {
    try {
      import_model(parse_model(damaged, "test"));
    } catch (const Error&) {
      ++refused;
    }
  };
  for (size_t n = 0; n < bytes.size(); n += 1 + bytes.size() / 1000) read(bytes.substr(0, n));
  CHECK(refused > 900);
  for (size_t i = 0; i < bytes.size(); i += 1 + bytes.size() / 1500) {
    for (int change : {0x01, 0x08, 0x80}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ change);
      read(damaged);
    }
  }
  CHECK(refused > 1500);
}

TEST_CASE("onnx import: one quantized layer is the same to the last bit of its scale") {
  nn::Layer model = nn::Sequential(
      {nn::Conv2d({.in = 3, .out = 5, .kernel = 3, .pad = 1}), nn::BatchNorm2d(5), nn::ReLU6()});
  Rng rng(3);
  nn::init(model, rng, {});
  quant::apply(model, quant::parse_scheme("uniform:W8A8,keep=none"));
  const Tensor x = Tensor::normal({2, 6, 6, 3}, rng);
  quant::calibrate(model, {x});
  nn::set_training(model, false);
  nn::Layer other = again(model, x, {.qdq = true, .fill = false});
  const NoGrad guard;
  const Gap g = gap(model(x), other(x));
  CHECK(g.rms < 1e-6 * g.spread + 1e-6);
}

TEST_CASE("onnx import: layers keep their names, weights and quantizers") {
  const ZooCase c{"resnet20", {.widths = {4, 6, 8}}};
  nn::Layer model = test::zoo_model(c);
  const Tensor x = test::zoo_images(c, 2, 21);
  nn::Layer other = again(model, x, {.fold_bn = false});
  const auto was = nn::state_dict(model), is = nn::state_dict(other);
  for (const char* name : {"conv1.weight", "layer2.0.bn1.running_var", "layer1.2.conv2.weight"}) {
    CAPTURE(name);
    CHECK(was.at(name) == is.at(name));
  }
  CHECK(quant::fold_bn(other, x).folded() == 21);  // rewrites find what they look for

  test::quantize_zoo(model, c, "uniform:W8A8,keep=none");
  nn::Layer quantized = again(model, x, {.qdq = true});
  int weights = 0;
  nn::for_each_layer(quantized, [&](const std::string& path, nn::Layer& layer) {
    const auto* q = layer.as<FixedQuantizer>();
    if (!q || !path.ends_with(".weight_fn")) return;
    ++weights;
    CHECK(q->form.lo == -128);
    CHECK(q->form.bits == 8);
  });
  CHECK(weights == 22);
  // Exported once more it is the same file's numbers.
  const Exported twice = export_model(quantized, x, {.qdq = true});
  CHECK(twice.report.integer_layers == 22);
}

TEST_CASE("onnx import: a network from elsewhere can be quantized") {
  const ZooCase c{"nin", {.widths = {8, 8, 8, 8, 8, 8, 8, 8}}};
  nn::Layer model = test::zoo_model(c);
  const Tensor x = test::zoo_images(c, 4, 21);
  nn::Layer other = again(model, x, {});
  quant::apply(other, quant::parse_scheme("uniform:W8A8,keep=none"));
  quant::calibrate(other, {test::zoo_images(c, 16, 12)});
  nn::set_training(other, false);
  const NoGrad guard;
  const Gap g = gap(model(x), other(x));
  CHECK(g.rms > 0);
  CHECK(g.rms < 0.2 * g.spread);
}

TEST_CASE("onnx import: what is not supported is named") {
  CHECK(contains(message_of([] { import_model(model_of({node("Einsum", {"x"})})); }),
                 "node n (Einsum) is not supported: there is no such operator"));
  CHECK(contains(message_of([] { import_model(model_of({node("Relu", {"z"})})); }),
                 "its input z is computed by no node"));
  CHECK(contains(message_of([] { import_model(model_of({node("Conv", {"x"})})); }),
                 "it has no weight"));
  NodeProto pool = node("MaxPool", {"x"});
  pool.attributes = {{"kernel_shape", std::vector<int64_t>{2, 2, 2}}};
  CHECK(contains(message_of([&] { import_model(model_of({pool})); }), "3 dimensions, not on 2"));
  ModelProto two = model_of({node("Relu", {"x"})});
  two.graph.inputs.push_back({.name = "x2"});
  CHECK(contains(message_of([&] { import_model(two); }), "more than one input: x2"));
  CHECK(contains(message_of([] { import_file("/nonexistent.onnx"); }), "/nonexistent.onnx"));
}

TEST_CASE("onnx import: matrices, constants in nodes, products of integers") {
  NodeProto turn = node("Transpose", {"x"});
  turn.outputs = {"t"};
  turn.attributes = {{"perm", std::vector<int64_t>{1, 0}}};
  NodeProto one = node("Constant", {});
  one.outputs = {"c"};
  one.attributes = {{"value", floats("", {2}, {10, 20})}};
  ModelProto m = model_of({turn, one, node("Add", {"t", "c"})});
  m.graph.inputs[0].dims = {{.size = 2}, {.size = 2}};
  const Tensor y = import_model(m).model(Tensor::of({1, 2, 3, 4}).view({2, 2}));
  CHECK(y == Tensor::of({11, 23, 12, 24}).view({2, 2}));
}
