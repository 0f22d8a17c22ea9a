#pragma once
// Networks from ONNX files, as models of this library: their convolutions, linear layers, batch
// norms and nonlinearities are the layers of nn/, so that quantization, pruning and exports work on
// them. Pairs of QuantizeLinear and DequantizeLinear are quantizers (FixedQuantizer).

#include <string>
#include <vector>

#include "deploy/onnx/model.h"
#include "nn/module.h"

namespace pare::onnx {

struct Imported {
  nn::Layer model;             // images in and out are NHWC
  std::vector<int64_t> input;  // sizes in this library's order; -1: free
};

/// What is not supported is an error that names the node, its operator, and why.
Imported import_model(const ModelProto& model);
/// Of a file; errors name it.
Imported import_file(const std::string& path);

/// Operators that import_model knows.
std::vector<std::string> supported_operators();

}  // namespace pare::onnx
