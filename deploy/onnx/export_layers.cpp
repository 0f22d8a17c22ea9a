// Convolutions, linear layers, normalization and pooling.

#include "deploy/onnx/exporter.h"

namespace pare::onnx {

using nn::Graph;

namespace {

constexpr int kNone = Graph::kNone;
using Ints = std::vector<int64_t>;

Ints both(Hw v) { return {v.h, v.w}; }
/// Rows before, columns before, rows after, columns after.
Ints padding(Hw v) { return {v.h, v.w, v.h, v.w}; }

std::string conv2d(Exporter& e, int i) {
  const Graph::Node& n = e.node(i);
  const LayerWeights w = e.weights_of(i);
  const std::vector<std::string> inputs = e.layer_inputs(i, e.arg(i), w);
  return e.out().node("Conv", n.name, inputs,
                      {{"kernel_shape", Ints{w.weight.dim(1), w.weight.dim(2)}},
                       {"strides", both(n.get<Hw>("stride"))},
                       {"pads", padding(n.get<Hw>("pad"))},
                       {"dilations", both(n.get<Hw>("dilation"))},
                       {"group", n.get<int64_t>("groups")}});
}

std::string conv_transpose2d(Exporter& e, int i) {
  const Graph::Node& n = e.node(i);
  std::vector<std::string> inputs = {e.arg(i), e.arg(i, 1)};
  if (e.input(i, 2) != kNone) inputs.push_back(e.arg(i, 2));
  const Shape& w = e.node(e.input(i, 1)).shape;
  return e.out().node("ConvTranspose", n.name, inputs,
                      {{"kernel_shape", Ints{w[1], w[2]}},
                       {"strides", both(n.get<Hw>("stride"))},
                       {"pads", padding(n.get<Hw>("pad"))},
                       {"output_padding", both(n.get<Hw>("output_pad"))},
                       {"dilations", both(n.get<Hw>("dilation"))},
                       {"group", n.get<int64_t>("groups")}});
}

std::string linear(Exporter& e, int i) {
  const LayerWeights w = e.weights_of(i);
  return e.out().node("Gemm", e.node(i).name, e.layer_inputs(i, e.arg(i), w),
                      {{"transB", int64_t{1}}});
}

std::string batch_norm(Exporter& e, int i) {
  const Graph::Node& n = e.node(i);
  const int mean = n.state.at(0), var = n.state.at(1);
  const Shape channels = e.node(mean).shape;
  const auto or_constant = [&](size_t position, const char* name, float value) {
    const int given = e.input(i, position);
    if (given != kNone) return e.value(given);
    return e.out().constant(n.name + name, Tensor::full(channels, value));
  };
  return e.out().node("BatchNormalization", n.name,
                      {e.arg(i), or_constant(1, ".weight", 1.0f), or_constant(2, ".bias", 0.0f),
                       e.value(mean), e.value(var)},
                      {{"epsilon", n.get<float>("eps")}});
}

std::string layer_norm(Exporter& e, int i) {
  const Graph::Node& n = e.node(i);
  if (e.options().opset < 17) e.refuse(i, "LayerNormalization needs opset 17");
  const auto or_constant = [&](size_t position, const char* name, float value) {
    const int given = e.input(i, position);
    if (given != kNone) return e.value(given);
    return e.out().constant(n.name + name, Tensor::full({n.shape.dim(-1)}, value));
  };
  const std::string y =
      e.out().node("LayerNormalization", n.name,
                   {e.in_memory_order(e.input(i, 0)), or_constant(1, ".weight", 1.0f),
                    or_constant(2, ".bias", 0.0f)},
                   {{"axis", int64_t{-1}}, {"epsilon", n.get<float>("eps")}});
  return e.in_file_order(y, n.shape);
}

std::vector<NodeAttribute> pool_attributes(const Graph::Node& n) {
  return {{"kernel_shape", both(n.get<Hw>("kernel"))},
          {"strides", both(n.get<Hw>("stride"))},
          {"pads", padding(n.get<Hw>("pad"))},
          {"ceil_mode", int64_t{n.get<bool>("ceil_mode")}}};
}

std::string max_pool2d(Exporter& e, int i) {
  return e.out().node("MaxPool", e.node(i).name, {e.arg(i)}, pool_attributes(e.node(i)));
}

std::string avg_pool2d(Exporter& e, int i) {
  const Graph::Node& n = e.node(i);
  std::vector<NodeAttribute> attributes = pool_attributes(n);
  attributes.push_back({"count_include_pad", int64_t{n.get<bool>("count_include_pad")}});
  return e.out().node("AveragePool", n.name, {e.arg(i)}, attributes);
}

}  // namespace

const ExportRules& layer_rules() {
  static const ExportRules kRules = {
      {"conv2d", conv2d},         {"conv_transpose2d", conv_transpose2d},
      {"linear", linear},         {"batch_norm", batch_norm},
      {"layer_norm", layer_norm}, {"max_pool2d", max_pool2d},
      {"avg_pool2d", avg_pool2d}};
  return kRules;
}

}  // namespace pare::onnx
