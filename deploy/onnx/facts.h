#pragma once
// What the exporter needs to know of a traced graph before it writes anything.

#include <vector>

#include "nn/codes.h"
#include "nn/trace.h"

namespace pare::onnx {

struct Facts {
  Facts(const nn::Graph& graph, bool fold_bn);

  bool is_static(int i) const { return statics[static_cast<size_t>(i)]; }
  bool is_nonnegative(int i) const { return nonnegative[static_cast<size_t>(i)]; }
  float upper(int i) const { return uppers[static_cast<size_t>(i)]; }
  const nn::Coded* quantizer(int i) const { return quantizers[static_cast<size_t>(i)]; }
  int norm_of(int layer) const { return norms[static_cast<size_t>(layer)]; }
  int layer_of(int norm) const { return layers[static_cast<size_t>(norm)]; }

  // All by node.
  std::vector<bool> statics;      // computed from parameters and constants alone
  std::vector<bool> nonnegative;  // whatever the input is
  std::vector<float> uppers;      // no value is larger, as ReLU6 says it; infinity: it may be
  std::vector<const nn::Coded*> quantizers;  // that it is, alone; null: it is something else
  std::vector<int> norms, layers;  // the batch norm folded into this layer, and back; kNone

 private:
  bool must_be_nonnegative(const nn::Graph& graph, int i) const;
  float upper_of(const nn::Graph& graph, int i) const;
  void find_norms(const nn::Graph& graph);
};

/// A convolution or linear layer with weights that do not depend on the input.
bool is_layer(const nn::Graph::Node& node);
/// Ops that move values, and compute nothing.
bool only_moves(const std::string& op);

}  // namespace pare::onnx
