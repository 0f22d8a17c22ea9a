#pragma once
// Quantized layers that read like any other:
//
//   nn::Sequential({quant::binary_conv2d({.in = 64, .out = 64, .pad = 1}), nn::BatchNorm2d(64)})
//
// Each is an nn::Conv2d or nn::Linear with its sockets filled; there is no other layer type behind
// it.

#include "quant/binary.h"
#include "quant/dorefa.h"
#include "quant/ternary.h"
#include "quant/xnor.h"

namespace pare::quant {

struct BinaryOptions {
  BinaryWeightOptions weight = {};
  bool input = true;  // binarize the input too
  Ste ste = Ste::clip;
  bool xnor_scale = false;  // multiply the output by XNOR-Net's K
};

struct TernaryOptions {
  TernaryWeightOptions weight = {};
  bool input = true;
  Ste ste = Ste::clip;
  float input_threshold = 0.5f;
};

struct DorefaOptions {
  int weight_bits = 8, input_bits = 8;  // 1 to 16; 32: float
  DorefaForm form = DorefaForm::paper;
  float prescale = 0.0f;  // of the input; 0: the form's own
};

nn::Layer binary_conv2d(const nn::Conv2dOptions& conv, const BinaryOptions& options = {});
nn::Layer ternary_conv2d(const nn::Conv2dOptions& conv, const TernaryOptions& options = {});
nn::Layer dorefa_conv2d(const nn::Conv2dOptions& conv, const DorefaOptions& options = {});

nn::Layer binary_linear(const nn::LinearOptions& linear, const BinaryOptions& options = {});
nn::Layer ternary_linear(const nn::LinearOptions& linear, const TernaryOptions& options = {});
nn::Layer dorefa_linear(const nn::LinearOptions& linear, const DorefaOptions& options = {});

}  // namespace pare::quant
