#pragma once
// A file on its way into a model. Rules read one operator each (import_*.cpp). Private to
// deploy/onnx.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/tensor.h"
#include "deploy/onnx/import.h"
#include "deploy/onnx/imported_net.h"
#include "nn/codes.h"

namespace pare::onnx {

/// A value that does not depend on the input.
struct StaticValue {
  TensorData data;                      // numbers, dequantized where they were integers
  std::optional<nn::Codes> codes = {};  // of dequantized ones
  int64_t axis = 0;                     // along which their scales differ
};

class Importer {
 public:
  explicit Importer(const ModelProto& model);
  Imported run();

  // For rules.
  int64_t opset() const { return model_.opset(); }
  bool has(const NodeProto& n, size_t position) const;
  /// The static value at a position, or null: it depends on the input.
  const StaticValue* constant(const NodeProto& n, size_t position) const;
  /// It must be there; `what` names it in errors.
  const StaticValue& needed(const NodeProto& n, size_t position, const char* what) const;
  std::vector<int64_t> integers_at(const NodeProto& n, size_t position, const char* what) const;
  void set_constant(const std::string& name, StaticValue value);
  /// The only node that reads a value, or null.
  const NodeProto* only_reader(const std::string& value) const;
  std::vector<const NodeProto*> readers(const std::string& value) const;
  /// Has been taken care of along with another one.
  void skip(const NodeProto& n) { skipped_.insert(&n); }
  void same(const std::string& name, const std::string& as);

  /// y = layer(x) or f(inputs), where y and x are names in the file.
  void add_layer(const NodeProto& n, nn::Layer layer, const std::string& x, const std::string& y);
  void add_layer(const NodeProto& n, nn::Layer layer) {
    add_layer(n, std::move(layer), n.inputs[0], n.outputs[0]);
  }
  void add_function(const NodeProto& n, StepFunction f, const std::vector<std::string>& inputs,
                    const std::string& y);
  void add_function(const NodeProto& n, StepFunction f) {
    add_function(n, std::move(f), {n.inputs[0]}, n.outputs[0]);
  }
  /// A name for a value between the steps of one node.
  std::string between(const NodeProto& n) { return n.outputs[0] + "/" + std::to_string(values_); }
  [[noreturn]] void refuse(const NodeProto& n, const std::string& because) const;

 private:
  void import(const NodeProto& n);
  void check_type(const ValueInfo& input) const;
  int value(const NodeProto& n, const std::string& name) const;
  int new_value(const std::string& name);
  std::string step_name(const NodeProto& n);

  const ModelProto& model_;
  std::map<std::string, StaticValue> constants_;
  std::map<std::string, int> numbers_;  // of values, by name
  std::map<std::string, std::vector<const NodeProto*>> readers_;
  std::set<const NodeProto*> skipped_;
  std::set<std::string> names_;
  std::vector<Step> steps_;
  int values_ = 0;
};

// Attributes, with what ONNX says where they are left out.
int64_t integer(const NodeProto& n, std::string_view name, int64_t usual);
float number(const NodeProto& n, std::string_view name, float usual);
std::string word(const NodeProto& n, std::string_view name, const std::string& usual);
std::vector<int64_t> numbers(const NodeProto& n, std::string_view name,
                             const std::vector<int64_t>& usual);

/// A tensor with the file's sizes; five dimensions at most.
Tensor file_tensor(const TensorData& t);
/// 4-D ones NHWC.
Tensor memory_tensor(const TensorData& t);
/// The axis of this library's tensor; negative ones count from the back.
int memory_axis(int64_t axis, int dims);

using ImportRule = void (*)(Importer& in, const NodeProto& n);
using ImportRules = std::unordered_map<std::string, ImportRule>;
const ImportRules& import_layer_rules();
const ImportRules& import_math_rules();
const ImportRules& import_shape_rules();
const ImportRules& import_quant_rules();

}  // namespace pare::onnx
