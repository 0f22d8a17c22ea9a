// What exported files look like; that they compute the same is import_test's matter.
#include "deploy/onnx/export.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tests/onnx/zoo.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::onnx;
using test::contains;
using test::message_of;
using test::ZooCase;

namespace {

const ZooCase kResnet{"resnet20", {.widths = {4, 6, 8}}};
const ZooCase kNin{"nin", {.widths = {6, 5, 4, 6, 6, 6, 6, 6}}};
const ZooCase kMobile{"mobilenet_v2", {.image = {32, 32, 3}}};

Exported exported(const ZooCase& c, const std::string& scheme, const ExportOptions& options) {
  nn::Layer model = test::zoo_model(c);
  if (!scheme.empty()) test::quantize_zoo(model, c, scheme);
  return export_model(model, test::zoo_images(c, 4, 12), options);
}

/// A file's graph, looked up by name.
struct View {
  explicit View(const GraphProto& graph) : g(graph) {
    for (const NodeProto& n : g.nodes) {
      makers[n.outputs[0]] = &n;
      for (const std::string& input : n.inputs) readers[input].push_back(&n);
    }
    for (const TensorData& t : g.initializers) tensors[t.name] = &t;
  }
  int64_t count(const std::string& op) const {
    return std::count_if(g.nodes.begin(), g.nodes.end(),
                         [&](const NodeProto& n) { return n.op == op; });
  }
  const NodeProto& maker(const std::string& value) const { return *makers.at(value); }
  std::vector<float> floats_at(const std::string& name) const {
    return float_values(*tensors.at(name));
  }

  const GraphProto& g;
  std::map<std::string, const NodeProto*> makers;
  std::map<std::string, std::vector<const NodeProto*>> readers;
  std::map<std::string, const TensorData*> tensors;
};

/// Every layer: int8 weights and int32 biases behind DequantizeLinear along axis 0, biases in steps
/// of input scale times weight scale, and one QuantizeLinear behind it, or a Relu in between.
void check_integer_layer(const View& v, const NodeProto& n) {
  CAPTURE(n.name);
  const NodeProto &x = v.maker(n.inputs[0]), &w = v.maker(n.inputs[1]), &b = v.maker(n.inputs[2]);
  REQUIRE((x.op == "DequantizeLinear" && w.op == "DequantizeLinear" && b.op == "DequantizeLinear"));
  CHECK(v.tensors.at(w.inputs[0])->type == Type::int8);
  CHECK(v.tensors.at(b.inputs[0])->type == Type::int32);
  CHECK(std::get<int64_t>(w.find("axis")->value) == 0);
  CHECK(std::get<int64_t>(b.find("axis")->value) == 0);
  CHECK(w.note == "bits: 8");
  const float input_scale = v.floats_at(x.inputs[1])[0];
  const std::vector<float> weight = v.floats_at(w.inputs[1]), bias = v.floats_at(b.inputs[1]);
  REQUIRE(weight.size() == bias.size());
  for (size_t k = 0; k < bias.size(); ++k) REQUIRE(bias[k] == input_scale * weight[k]);
  if (n.outputs[0] == "output") return;
  const NodeProto* reader = v.readers.at(n.outputs[0])[0];
  CHECK(v.readers.at(n.outputs[0]).size() == 1);
  if (reader->op == "Relu") {
    CHECK(v.readers.at(reader->outputs[0]).size() == 1);
    reader = v.readers.at(reader->outputs[0])[0];
  }
  CHECK(reader->op == "QuantizeLinear");
}

}  // namespace

TEST_CASE("onnx export: float, batch norm folded, names of modules") {
  const Exported file = exported(kResnet, "", {});
  const View v(file.model.graph);
  CHECK(file.model.opset() == 13);
  CHECK(file.model.ir_version == 7);
  CHECK(file.report.folded == 21);
  CHECK(v.count("Conv") == 21);
  CHECK(v.count("BatchNormalization") == 0);
  CHECK(v.count("Add") == 9);
  CHECK(v.count("GlobalAveragePool") == 1);
  CHECK(v.maker("layer1.0.conv1").op == "Conv");
  CHECK(v.tensors.at("layer1.0.conv1.weight")->dims == std::vector<int64_t>{4, 4, 3, 3});
  CHECK(v.maker("output").op == "Gemm");
  const ValueInfo& input = file.model.graph.inputs.at(0);
  CHECK((input.name == "input" && input.dims[0].symbol == "N" && input.dims[1].size == 3));
}

TEST_CASE("onnx export: batch norm stays, on request") {
  const Exported file = exported(kResnet, "", {.opset = 17, .fold_bn = false});
  CHECK(View(file.model.graph).count("BatchNormalization") == 21);
  CHECK(file.model.ir_version == 8);
  CHECK(file.report.folded == 0);
}

TEST_CASE("onnx export: every layer is an integer one") {
  for (const ZooCase& c : {kResnet, kNin, kMobile}) {
    CAPTURE(c.name);
    const Exported file = exported(c, "uniform:W8A8,keep=none", {.qdq = true});
    const View v(file.model.graph);
    CHECK(file.report.layers == file.report.integer_layers);
    for (const NodeProto& n : file.model.graph.nodes) {
      if (n.op == "Conv" || n.op == "Gemm") check_integer_layer(v, n);
      if (n.op != "Add" && n.op != "GlobalAveragePool") continue;
      for (const std::string& input : n.inputs) {
        CAPTURE(n.name);
        CHECK(v.maker(input).op == "DequantizeLinear");
      }
    }
  }
}

TEST_CASE("onnx export: a quantizer is one pair, however many read it") {
  const Exported file = exported(kResnet, "uniform:W8A8,keep=none", {.qdq = true});
  std::map<std::string, int> behind;
  for (const NodeProto& n : file.model.graph.nodes) {
    if (n.op == "QuantizeLinear") ++behind[n.inputs[0]];
  }
  for (const auto& entry : behind) {
    CAPTURE(entry.first);
    CHECK(entry.second == 1);
  }
}

TEST_CASE("onnx export: zero points are 0 in the symmetric form") {
  const Exported file =
      exported(kResnet, "uniform:W8A8,keep=none", {.qdq = true, .symmetric = true});
  const View v(file.model.graph);
  for (const NodeProto& n : file.model.graph.nodes) {
    if (n.op != "QuantizeLinear" && n.op != "DequantizeLinear") continue;
    if (n.inputs.size() < 3) continue;
    const TensorData& zero = *v.tensors.at(n.inputs[2]);
    CHECK(zero.type == Type::int8);
    for (int64_t z : integer_values(zero)) CHECK(z == 0);
  }
}

TEST_CASE("onnx export: few bits are clipped bytes, or int4") {
  const Exported bytes = exported(kResnet, "lsq:W4A4,keep=none", {.qdq = true});
  const View v(bytes.model.graph);
  CHECK(v.count("Clip") >= 21);
  CHECK(v.maker("layer1.0.conv1.weight").note == "bits: 4");
  const Exported packed =
      exported(kResnet, "lsq:W4A8,keep=none", {.opset = 21, .qdq = true, .int4 = true});
  CHECK(packed.model.ir_version == 10);
  const View p(packed.model.graph);
  CHECK(p.tensors.at("layer1.0.conv1.weight_quantized")->type == Type::int4);
  CHECK(p.maker("layer1.0.conv1.weight").metadata.at("bits") == "4");
  CHECK(
      contains(message_of([] { exported(kResnet, "", {.qdq = true, .int4 = true}); }), "opset 21"));
}

TEST_CASE("onnx export: biases far beyond the weights still are int32") {
  nn::Layer model = nn::Sequential({nn::Conv2d({.in = 2, .out = 2, .kernel = 1})});
  auto& conv = *model.as<nn::Sequential>()->layers[0].as<nn::Conv2d>();
  conv.weight.copy_(Tensor::of({1e-9f, -1e-9f, 1, 0.5f}).view({2, 1, 1, 2}));
  conv.bias.copy_(Tensor::of({1000, 0.25f}));
  quant::apply(model, quant::parse_scheme("uniform:W8A8,keep=none"));
  Rng rng(1);
  quant::calibrate(model, {Tensor::uniform({2, 4, 4, 2}, rng)});
  const Exported file = export_model(model, Tensor::ones({1, 4, 4, 2}), {.qdq = true});
  const View v(file.model.graph);
  const std::vector<int64_t> codes = integer_values(*v.tensors.at("0.bias_quantized"));
  const std::vector<float> scale = v.floats_at("0.bias_scale");
  CHECK(std::fabs(static_cast<float>(codes[0]) * scale[0] - 1000) < 1e-3f);
  CHECK(std::fabs(static_cast<float>(codes[1]) * scale[1] - 0.25f) < 1e-3f);
}

TEST_CASE("onnx export: what cannot be said is refused") {
  CHECK(contains(message_of([] { exported(kResnet, "", {.opset = 12}); }), "opsets from 13 to 21"));
  nn::Layer model = nn::Sequential({nn::LayerNorm(4)});
  CHECK(contains(message_of([&] { export_model(model, Tensor::ones({1, 4})); }), "needs opset 17"));
  CHECK(export_model(model, Tensor::ones({1, 4}), {.opset = 17}).report.nodes == 1);
}
