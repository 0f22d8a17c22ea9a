#include "quant/factories.h"

#include <utility>

namespace pare::quant {

namespace {

template <class L>
void fill(L& layer, const BinaryOptions& o) {
  layer.weight_fn = BinaryWeight(o.weight);
  if (o.input) layer.input_fn = BinaryActivation(o.ste);
}

template <class L>
void fill(L& layer, const TernaryOptions& o) {
  layer.weight_fn = TernaryWeight(o.weight, layer.weight.shape());
  if (o.input) layer.input_fn = TernaryActivation(o.ste, o.input_threshold);
}

template <class L>
void fill(L& layer, const DorefaOptions& o) {
  if (o.weight_bits != 32) layer.weight_fn = DorefaWeight(o.weight_bits, o.form);
  if (o.input_bits != 32) layer.input_fn = DorefaActivation(o.input_bits, o.form, o.prescale);
}

template <class L, class Geometry, class Options>
L filled(const Geometry& geometry, const Options& options) {
  L layer(geometry);
  fill(layer, options);
  return layer;
}

}  // namespace

nn::Layer binary_conv2d(const nn::Conv2dOptions& conv, const BinaryOptions& options) {
  auto layer = filled<nn::Conv2d>(conv, options);
  if (options.xnor_scale) return XnorConv2d(std::move(layer));
  return layer;
}

nn::Layer ternary_conv2d(const nn::Conv2dOptions& conv, const TernaryOptions& options) {
  return filled<nn::Conv2d>(conv, options);
}

nn::Layer dorefa_conv2d(const nn::Conv2dOptions& conv, const DorefaOptions& options) {
  return filled<nn::Conv2d>(conv, options);
}

nn::Layer binary_linear(const nn::LinearOptions& linear, const BinaryOptions& options) {
  auto layer = filled<nn::Linear>(linear, options);
  if (options.xnor_scale) return XnorLinear(std::move(layer));
  return layer;
}

nn::Layer ternary_linear(const nn::LinearOptions& linear, const TernaryOptions& options) {
  return filled<nn::Linear>(linear, options);
}

nn::Layer dorefa_linear(const nn::LinearOptions& linear, const DorefaOptions& options) {
  return filled<nn::Linear>(linear, options);
}

}  // namespace pare::quant
