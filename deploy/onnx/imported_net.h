#pragma once
// A network as steps that read values by number.

#include <functional>
#include <string>
#include <vector>

#include "nn/module.h"

namespace pare::onnx {

using StepFunction = std::function<Tensor(const std::vector<Tensor>& inputs)>;

/// value[output] = layer(value[input]), or f of several. Values with four dimensions are images,
/// NHWC; others are as the file has them.
struct Step {
  std::string name;
  nn::Layer layer;  // empty: f computes
  StepFunction f;
  std::vector<int> inputs;
  int output = 0;
};

struct ImportedNet final : nn::Module {
  /// value[0] is the input.
  ImportedNet(std::vector<Step> steps, int values, int output);
  Tensor forward(const Tensor& x) override;
  void visit(nn::Visitor& v) override;
  std::string describe() const override { return "ImportedNet"; }

  std::vector<Step> steps;

 private:
  int values_, output_;
  std::vector<int> last_reader_;  // by value
};

}  // namespace pare::onnx
