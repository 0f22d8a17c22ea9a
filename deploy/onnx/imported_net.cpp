#include "deploy/onnx/imported_net.h"

#include "core/error.h"
#include "nn/layers.h"

namespace pare::onnx {

namespace {

/// Channels are the last axis here; the file has them second, and only images are turned.
void check_norm(const nn::Layer& layer, const std::vector<Tensor>& inputs) {
  PARE_CHECK(!layer.as<nn::BatchNorm2d>() || inputs[0].dims() == 2 || inputs[0].dims() == 4,
             "onnx: a batch norm of ", inputs[0].dims(), " dimensions is not supported");
}

}  // namespace

ImportedNet::ImportedNet(std::vector<Step> all, int values, int output)
    : steps(std::move(all)),
      values_(values),
      output_(output),
      last_reader_(static_cast<size_t>(values), -1) {
  for (size_t i = 0; i < steps.size(); ++i) {
    for (int input : steps[i].inputs)
      last_reader_[static_cast<size_t>(input)] = static_cast<int>(i);
  }
  last_reader_[static_cast<size_t>(output_)] = static_cast<int>(steps.size());
}

Tensor ImportedNet::forward(const Tensor& x) {
  std::vector<Tensor> values(static_cast<size_t>(values_));
  values[0] = x;
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& s = steps[i];
    std::vector<Tensor> inputs;
    for (int from : s.inputs) {
      Tensor& value = values[static_cast<size_t>(from)];
      inputs.push_back(value);
      if (last_reader_[static_cast<size_t>(from)] == static_cast<int>(i)) value = {};
    }
    try {
      check_norm(s.layer, inputs);
      values[static_cast<size_t>(s.output)] = s.f ? s.f(inputs) : s.layer(inputs[0]);
    } catch (Error& e) {
      if (!e.has_path()) e.add_path(s.name);
      throw;
    }
  }
  return values[static_cast<size_t>(output_)];
}

void ImportedNet::visit(nn::Visitor& v) {
  for (Step& s : steps) {
    if (!s.f) v(s.name, s.layer);
  }
}

}  // namespace pare::onnx
