#pragma once
// A traced graph on its way into a file. Rules write one op each (export_*.cpp). Private to
// deploy/onnx.

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "deploy/onnx/graph_writer.h"
#include "deploy/onnx/integer_weights.h"
#include "deploy/onnx/quant_plan.h"

namespace pare::onnx {

class Exporter {
 public:
  Exporter(const nn::TracedValues& traced, const ExportOptions& options);
  Exported run();

  // For rules.
  const nn::Graph::Node& node(int i) const { return traced_.graph[i]; }
  const ExportOptions& options() const { return options_; }
  GraphWriter& out() { return out_; }
  /// The input at a position; kNone: left out.
  int input(int i, size_t position) const { return traced_.graph.input_of(i, position); }
  /// What the file calls a value. 4-D ones are NCHW; static ones become initializers.
  std::string value(int i);
  std::string arg(int i, size_t position = 0) { return value(input(i, position)); }
  /// The same as it lies in memory, NHWC, for ops that take axes apart; and back.
  std::string in_memory_order(int i);
  std::string in_file_order(const std::string& name, const Shape& shape);
  bool is_static(int i) const { return facts_.is_static(i); }
  const Tensor& tensor(int i) const { return traced_.values[static_cast<size_t>(i)]; }
  /// The free batch size is written as 0, "as in the input", where both have it in front.
  std::vector<int64_t> reshape_dims(const std::vector<int64_t>& dims) const;
  [[noreturn]] void refuse(int i, const std::string& because) const;

  bool is_clipped(int i) const { return !options_.symmetric && plan_.is_clipped(i); }
  /// x >= 0 ? 1 : -1
  std::string plus_or_minus(int i);
  LayerWeights weights_of(int i);
  /// Weight and bias of a layer as its inputs; `x` is what it reads.
  std::vector<std::string> layer_inputs(int i, const std::string& x, const LayerWeights& w);

 private:
  std::vector<bool> integer_layers() const;
  void write(int i);
  std::string quantizer(int i);
  std::string signs(int i);
  std::string pair(const std::string& x, const ActivationGrid& grid, const std::string& name);
  std::string clipped(const std::string& q, const ActivationGrid& grid, const std::string& name);
  std::string dequantized(const std::string& name, const IntegerWeight& w, const Shape& shape);
  std::string integer_bias(const std::string& name, const IntegerWeight& w, float input_scale,
                           const std::vector<float>& bias);
  void set(int i, const std::string& name) { names_[static_cast<size_t>(i)] = name; }
  void finish();

  const nn::TracedValues& traced_;
  const ExportOptions& options_;
  Facts facts_;
  std::vector<bool> integer_layer_;
  QuantPlan plan_;
  GraphWriter out_;
  ExportReport report_;
  std::vector<std::string> names_;                 // by node
  std::map<std::string, float> scales_;            // of dequantized values with one scale
  std::map<std::string, std::string> made_pairs_;  // equal pairs behind one value are one
};

/// Writes the op and returns the name of its result.
using ExportRule = std::string (*)(Exporter& e, int node);
using ExportRules = std::unordered_map<std::string, ExportRule>;
const ExportRules& layer_rules();
const ExportRules& math_rules();
const ExportRules& shape_rules();

}  // namespace pare::onnx
