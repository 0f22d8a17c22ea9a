#include "deploy/onnx/exporter.h"

#include <algorithm>

#include "core/error.h"

namespace pare::onnx {

using nn::Graph;

namespace {

constexpr int kNone = Graph::kNone;

ExportRule rule_for(const std::string& op) {
  for (const ExportRules* rules : {&layer_rules(), &math_rules(), &shape_rules()}) {
    if (const auto it = rules->find(op); it != rules->end()) return it->second;
  }
  return nullptr;
}

/// The lowest that the opset allows, which the oldest runtimes read.
int64_t ir_version_for(int opset) {
  return opset >= 21 ? 10 : opset >= 19 ? 9 : opset >= 15 ? 8 : 7;
}

ValueInfo value_info(const std::string& name, const Shape& shape) {
  ValueInfo value{.name = name};
  for (int64_t d : file_dims(shape)) value.dims.push_back({.size = d});
  if (!value.dims.empty()) value.dims[0] = {.symbol = "N"};
  return value;
}

}  // namespace

Exporter::Exporter(const nn::TracedValues& traced, const ExportOptions& options)
    : traced_(traced),
      options_(options),
      facts_(traced.graph, options.fold_bn),
      integer_layer_(integer_layers()),
      plan_(traced, facts_, options, integer_layer_),
      names_(traced.graph.nodes.size()) {}

std::vector<bool> Exporter::integer_layers() const {
  std::vector<bool> all;
  for (int i = 0; i < traced_.graph.size(); ++i) {
    all.push_back(options_.qdq && is_layer(node(i)) &&
                  layer_weights(traced_, facts_, i, {.integers = true}).integers.has_value());
  }
  return all;
}

std::string Exporter::value(int i) {
  std::string& name = names_[static_cast<size_t>(i)];
  if (!name.empty()) return name;
  PARE_CHECK(facts_.is_static(i), "onnx: ", node(i).name, " is read before it is computed");
  const Tensor& t = tensor(i);
  name = out_.constant(floats(node(i).name, file_dims(t.shape()), [&] {
    const Tensor ordered = t.dims() == 4 ? nhwc_to_nchw(t) : t;
    return std::vector<float>(ordered.span().begin(), ordered.span().end());
  }()));
  return name;
}

std::string Exporter::in_memory_order(int i) {
  if (is_static(i)) return out_.constant(node(i).name, tensor(i));
  const std::string name = value(i);
  if (node(i).shape.dims() != 4) return name;
  return out_.node("Transpose", name + ".nhwc", {name},
                   {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
}

std::string Exporter::in_file_order(const std::string& name, const Shape& shape) {
  if (shape.dims() != 4) return name;
  return out_.node("Transpose", name + ".nchw", {name},
                   {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
}

std::vector<int64_t> Exporter::reshape_dims(const std::vector<int64_t>& dims) const {
  std::vector<int64_t> free = dims;
  if (!free.empty() && free[0] == node(traced_.graph.input).shape[0]) free[0] = 0;
  return free;
}

void Exporter::refuse(int i, const std::string& because) const {
  throw Error(str("onnx: ", node(i).name, " (", node(i).op, ") cannot be exported: ", because),
              "Exporter::refuse");
}

void Exporter::write(int i) {
  const int layer = facts_.layer_of(i);
  if (layer != kNone) {
    set(i, value(layer));  // folded
    ++report_.folded;
  } else if (facts_.quantizer(i)) {
    set(i, quantizer(i));
  } else {
    const ExportRule rule = rule_for(node(i).op);
    if (!rule) refuse(i, "there is no rule for this op");
    set(i, rule(*this, i));
  }
  if (const auto& grid = plan_.fill(i)) {
    set(i, pair(value(i), *grid, node(i).name));
    ++report_.added_quantizers;
  }
}

Exported Exporter::run() {
  const Graph& graph = traced_.graph;
  set(graph.input, out_.unique("input"));
  out_.graph.name = options_.name;
  out_.graph.inputs.push_back(value_info("input", node(graph.input).shape));
  for (int i = 0; i < graph.size(); ++i) {
    if (!facts_.is_static(i) && i != graph.input) write(i);
  }
  finish();
  Exported result{{.ir_version = ir_version_for(options_.opset),
                   .opsets = {{"", options_.opset}},
                   .producer_version = options_.version,
                   .graph = std::move(out_.graph),
                   .metadata = options_.metadata},
                  std::move(report_)};
  result.report.nodes = static_cast<int64_t>(result.model.graph.nodes.size());
  for (const TensorData& t : result.model.graph.initializers) {
    result.report.bytes_of_weights += static_cast<int64_t>(t.bytes.size());
  }
  return result;
}

/// The result is called "output".
void Exporter::finish() {
  const Graph& graph = traced_.graph;
  const std::string was = value(graph.output), name = out_.unique("output");
  out_.graph.outputs.push_back(value_info(name, node(graph.output).shape));
  const bool made = std::any_of(out_.graph.nodes.begin(), out_.graph.nodes.end(),
                                [&](const NodeProto& n) { return n.outputs[0] == was; });
  if (!made) {
    out_.node("Identity", name + ".identity", {was});
    out_.last().outputs = {name};
    return;
  }
  for (NodeProto& n : out_.graph.nodes) {
    std::replace(n.inputs.begin(), n.inputs.end(), was, name);
    std::replace(n.outputs.begin(), n.outputs.end(), was, name);
  }
}

Exported export_model(nn::Layer& model, const Tensor& example, const ExportOptions& options) {
  PARE_CHECK(options.opset >= kMinOpset && options.opset <= kMaxOpset, "onnx: opsets from ",
             kMinOpset, " to ", kMaxOpset, " can be written, got ", options.opset);
  PARE_CHECK(!options.int4 || options.opset >= 21, "onnx: int4 weights need opset 21, got ",
             options.opset);
  const nn::TracedValues traced = nn::trace_values(model, example);
  return Exporter(traced, options).run();
}

}  // namespace pare::onnx
