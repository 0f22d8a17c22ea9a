#pragma once
// A model as an ONNX file. Values are named after the modules that compute them, images are NCHW,
// and the batch size is free.

#include <map>
#include <string>
#include <vector>

#include "deploy/onnx/model.h"
#include "nn/module.h"

namespace pare::onnx {

inline constexpr int kMinOpset = 13, kMaxOpset = 21;

struct ExportOptions {
  int opset = 13;
  bool fold_bn = true;  // batch norm into the convolution or linear layer in front of it
  /// Quantized weights as integers behind DequantizeLinear, biases as int32, and activations
  /// between QuantizeLinear and DequantizeLinear as unsigned bytes. Otherwise weights are float32.
  bool qdq = false;
  /// With qdq: where an integer layer's result, or what is added to it, has no quantizer, it gets
  /// one with 8 bits, whose range is that on the example; else runtimes compute the layer in float.
  bool fill = true;
  bool symmetric = false;  // with qdq: int8 with zero point 0 everywhere, as TensorRT wants it
  bool int4 = false;       // with qdq: weights of up to 4 bits as int4; needs opset 21
  std::string name = "pare", version = {};           // of the graph; of the producer
  std::map<std::string, std::string> metadata = {};  // of the model
};

struct ExportReport {
  int64_t nodes = 0, bytes_of_weights = 0, folded = 0;  // folded: batch norms
  int64_t layers = 0, integer_layers = 0;               // convolutions and linear layers
  int64_t added_quantizers = 0;                         // by ExportOptions::fill
  std::vector<std::string> notes;  // what the file cannot say as the model does
};

struct Exported {
  ModelProto model;
  ExportReport report;
};

/// `example` [N, H, W, C] is an input to trace the model with; for `fill` some real images.
/// What ONNX has no operator for is an error that names the node.
Exported export_model(nn::Layer& model, const Tensor& example, const ExportOptions& options = {});

}  // namespace pare::onnx
