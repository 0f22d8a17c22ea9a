#include "deploy/onnx/importer.h"

#include <algorithm>
#include <stdexcept>

#include "core/error.h"
#include "core/files.h"

namespace pare::onnx {

namespace {

const std::vector<const ImportRules*>& all_rules() {
  static const std::vector<const ImportRules*> kAll = {
      &import_layer_rules(), &import_math_rules(), &import_shape_rules(), &import_quant_rules()};
  return kAll;
}

ImportRule rule_for(const std::string& op) {
  for (const ImportRules* rules : all_rules()) {
    if (const auto it = rules->find(op); it != rules->end()) return it->second;
  }
  return nullptr;
}

template <class T>
const T* attribute(const NodeProto& n, std::string_view name) {
  const NodeAttribute* a = n.find(name);
  if (!a) return nullptr;
  const T* value = std::get_if<T>(&a->value);
  PARE_CHECK(value, "onnx: ", n.name, " (", n.op, "): attribute ", name, " has another type");
  return value;
}

}  // namespace

int64_t integer(const NodeProto& n, std::string_view name, int64_t usual) {
  const auto* value = attribute<int64_t>(n, name);
  return value ? *value : usual;
}

float number(const NodeProto& n, std::string_view name, float usual) {
  const auto* value = attribute<float>(n, name);
  return value ? *value : usual;
}

std::string word(const NodeProto& n, std::string_view name, const std::string& usual) {
  const auto* value = attribute<std::string>(n, name);
  return value ? *value : usual;
}

std::vector<int64_t> numbers(const NodeProto& n, std::string_view name,
                             const std::vector<int64_t>& usual) {
  const auto* value = attribute<std::vector<int64_t>>(n, name);
  return value ? *value : usual;
}

Tensor file_tensor(const TensorData& t) {
  const std::vector<int64_t> dims = t.dims.empty() ? std::vector<int64_t>{1} : t.dims;
  PARE_CHECK(dims.size() <= Shape::kMaxDims, "onnx: ", t.name, " has ", dims.size(),
             " dimensions, at most ", Shape::kMaxDims, " are supported");
  return Tensor::of(float_values(t), Shape(dims));
}

Tensor memory_tensor(const TensorData& t) {
  const Tensor x = file_tensor(t);
  return x.dims() == 4 ? nchw_to_nhwc(x) : x;
}

int memory_axis(int64_t axis, int dims) {
  constexpr int kFromNchw[] = {0, 3, 1, 2};
  if (axis < 0) axis += dims;
  PARE_CHECK(axis >= 0 && axis < dims, "onnx: axis ", axis, " of ", dims, " dimensions");
  return dims == 4 ? kFromNchw[axis] : static_cast<int>(axis);
}

Importer::Importer(const ModelProto& model) : model_(model) {
  for (const TensorData& t : model.graph.initializers) constants_[t.name] = {t};
  for (const NodeProto& n : model.graph.nodes) {
    for (const std::string& input : n.inputs) {
      if (!input.empty()) readers_[input].push_back(&n);
    }
  }
}

bool Importer::has(const NodeProto& n, size_t position) const {
  return position < n.inputs.size() && !n.inputs[position].empty();
}

const StaticValue* Importer::constant(const NodeProto& n, size_t position) const {
  if (!has(n, position)) return nullptr;
  const auto it = constants_.find(n.inputs[position]);
  return it == constants_.end() ? nullptr : &it->second;
}

const StaticValue& Importer::needed(const NodeProto& n, size_t position, const char* what) const {
  if (!has(n, position)) refuse(n, str("it has no ", what));
  const StaticValue* value = constant(n, position);
  if (!value) refuse(n, str("its ", what, " is computed by other nodes"));
  return *value;
}

std::vector<int64_t> Importer::integers_at(const NodeProto& n, size_t position,
                                           const char* what) const {
  return integer_values(needed(n, position, what).data);
}

void Importer::set_constant(const std::string& name, StaticValue value) {
  constants_[name] = std::move(value);
}

std::vector<const NodeProto*> Importer::readers(const std::string& name) const {
  const auto it = readers_.find(name);
  return it == readers_.end() ? std::vector<const NodeProto*>{} : it->second;
}

const NodeProto* Importer::only_reader(const std::string& name) const {
  const auto all = readers(name);
  const auto& outputs = model_.graph.outputs;
  const bool is_output = std::any_of(outputs.begin(), outputs.end(),
                                     [&](const ValueInfo& v) { return v.name == name; });
  return all.size() == 1 && !is_output ? all[0] : nullptr;
}

void Importer::refuse(const NodeProto& n, const std::string& because) const {
  const std::string name = !n.name.empty() ? n.name : n.outputs.empty() ? "?" : n.outputs[0];
  throw Error(str("onnx: node ", name, " (", n.op, ") is not supported: ", because),
              "Importer::refuse");
}

int Importer::value(const NodeProto& n, const std::string& name) const {
  const auto it = numbers_.find(name);
  if (it != numbers_.end()) return it->second;
  if (constants_.count(name)) refuse(n, str("its input ", name, " is a constant"));
  refuse(n, str("its input ", name, " is computed by no node before it"));
}

int Importer::new_value(const std::string& name) {
  numbers_[name] = values_;
  return values_++;
}

void Importer::same(const std::string& name, const std::string& as) {
  const auto it = numbers_.find(as);
  if (it != numbers_.end()) {
    numbers_[name] = it->second;
  } else {
    constants_[name] = constants_.at(as);
  }
}

/// Slashes become dots, as in paths of modules.
std::string Importer::step_name(const NodeProto& n) {
  std::string name = n.name.empty() ? n.outputs[0] : n.name;
  std::replace(name.begin(), name.end(), '/', '.');
  name.erase(0, name.find_first_not_of('.'));
  if (name.empty()) name = n.op;
  std::string free = name;
  for (int i = 2; !names_.insert(free).second; ++i) free = name + "#" + std::to_string(i);
  return free;
}

void Importer::add_layer(const NodeProto& n, nn::Layer layer, const std::string& x,
                         const std::string& y) {
  const int from = value(n, x);
  steps_.push_back({step_name(n), std::move(layer), {}, {from}, new_value(y)});
}

void Importer::add_function(const NodeProto& n, StepFunction f,
                            const std::vector<std::string>& inputs, const std::string& y) {
  std::vector<int> from;
  for (const std::string& input : inputs) from.push_back(value(n, input));
  steps_.push_back({step_name(n), {}, std::move(f), from, new_value(y)});
}

void Importer::import(const NodeProto& n) {
  if (skipped_.count(&n)) return;
  if (!n.domain.empty() && n.domain != "ai.onnx") refuse(n, "its domain is " + n.domain);
  const ImportRule rule = rule_for(n.op);
  if (!rule) refuse(n, "there is no such operator here");
  for (size_t k = 1; k < n.outputs.size(); ++k) {
    if (!n.outputs[k].empty() && !readers(n.outputs[k]).empty()) {
      refuse(n, "more than its first result is used");
    }
  }
  try {
    rule(*this, n);
  } catch (const std::out_of_range&) {
    refuse(n, "it has fewer inputs, or numbers in one of them, than it needs");
  }
}

/// Integers may come in where they are dequantized first, and conditions where they choose.
void Importer::check_type(const ValueInfo& input) const {
  if (input.type == Type::float32) return;
  for (const NodeProto* n : readers(input.name)) {
    const bool takes_integers = n->op == "DequantizeLinear" || n->op.starts_with("QLinear");
    const bool chooses = n->op == "Where" && input.type == Type::boolean;
    if (!takes_integers && !chooses)
      refuse(*n, str("the input is of type ", type_name(input.type)));
  }
}

Imported Importer::run() {
  PARE_CHECK(opset() >= 1, "onnx: the model does not say which version of the operators it has");
  const GraphProto& g = model_.graph;
  Imported result;
  for (const ValueInfo& input : g.inputs) {
    if (constants_.count(input.name)) continue;  // older files list initializers, too
    check_type(input);
    PARE_CHECK(values_ == 0, "onnx: the model has more than one input: ", input.name);
    new_value(input.name);
    std::vector<int64_t> dims;
    for (const Dimension& d : input.dims) dims.push_back(d.size);
    if (dims.size() == 4) dims = {dims[0], dims[2], dims[3], dims[1]};
    result.input = dims;
  }
  PARE_CHECK(values_ == 1 && g.outputs.size() == 1, "onnx: the model has ", values_, " inputs and ",
             g.outputs.size(), " outputs, expected one of each");
  for (const NodeProto& n : g.nodes) {  // rules look ahead
    if (n.outputs.empty()) refuse(n, "it has no result");
    if (n.inputs.empty() && n.op != "Constant") refuse(n, "it has no inputs");
  }
  for (const NodeProto& n : g.nodes) import(n);
  const auto output = numbers_.find(g.outputs[0].name);
  PARE_CHECK(output != numbers_.end(), "onnx: no node computes the output ", g.outputs[0].name);
  result.model = ImportedNet(std::move(steps_), values_, output->second);
  nn::assign_paths(result.model);
  nn::set_training(result.model, false);
  return result;
}

Imported import_model(const ModelProto& model) { return Importer(model).run(); }

Imported import_file(const std::string& path) {
  const ModelProto model = parse_model(read_file(path), path);
  try {
    return import_model(model);
  } catch (const Error& e) {
    throw Error(path + ": " + e.what(), e.where());
  }
}

std::vector<std::string> supported_operators() {
  std::vector<std::string> names;
  for (const ImportRules* rules : all_rules()) {
    for (const auto& entry : *rules) names.push_back(entry.first);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace pare::onnx
