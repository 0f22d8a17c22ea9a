#pragma once
// A GraphProto under construction.

#include <set>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "deploy/onnx/model.h"

namespace pare::onnx {

class GraphWriter {
 public:
  /// Adds a node whose only result has the node's name, made unique; returns that name.
  std::string node(const std::string& op, const std::string& name, std::vector<std::string> inputs,
                   std::vector<NodeAttribute> attributes = {});
  NodeProto& last() { return graph.nodes.back(); }
  /// Adds an initializer, its name made unique; returns that name.
  std::string constant(TensorData data);
  std::string constant(const std::string& name, float value);  // a single number
  std::string constant(const std::string& name, const std::vector<int64_t>& values);  // int64
  /// Values as they lie in memory.
  std::string constant(const std::string& name, const Tensor& t);
  std::string unique(const std::string& name);

  GraphProto graph;

 private:
  std::set<std::string> used_;
};

/// 4-D sizes from NHWC to NCHW (and OHWI to OIHW); others as they are.
std::vector<int64_t> file_dims(const Shape& shape);
/// The axis of a value of so many dimensions, as the file counts it.
int64_t file_axis(int axis, int dims);

}  // namespace pare::onnx
