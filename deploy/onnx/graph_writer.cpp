#include "deploy/onnx/graph_writer.h"

#include <utility>

namespace pare::onnx {

std::string GraphWriter::unique(const std::string& name) {
  std::string free = name;
  for (int i = 2; !used_.insert(free).second; ++i) free = name + "#" + std::to_string(i);
  return free;
}

std::string GraphWriter::node(const std::string& op, const std::string& name,
                              std::vector<std::string> inputs,
                              std::vector<NodeAttribute> attributes) {
  const std::string result = unique(name);
  graph.nodes.push_back({.op = op,
                         .name = result,
                         .inputs = std::move(inputs),
                         .outputs = {result},
                         .attributes = std::move(attributes)});
  return result;
}

std::string GraphWriter::constant(TensorData data) {
  data.name = unique(data.name);
  graph.initializers.push_back(std::move(data));
  return graph.initializers.back().name;
}

std::string GraphWriter::constant(const std::string& name, float value) {
  return constant(floats(name, {}, {value}));
}

std::string GraphWriter::constant(const std::string& name, const std::vector<int64_t>& values) {
  return constant(integers(name, Type::int64, {static_cast<int64_t>(values.size())}, values));
}

std::string GraphWriter::constant(const std::string& name, const Tensor& t) {
  const std::vector<int64_t> dims(t.shape().begin(), t.shape().end());
  return constant(floats(name, dims, {t.span().begin(), t.span().end()}));
}

std::vector<int64_t> file_dims(const Shape& shape) {
  if (shape.dims() != 4) return {shape.begin(), shape.end()};
  return {shape[0], shape[3], shape[1], shape[2]};
}

int64_t file_axis(int axis, int dims) {
  constexpr int64_t kFromNhwc[] = {0, 2, 3, 1};
  return dims == 4 ? kFromNhwc[axis] : axis;
}

}  // namespace pare::onnx
