#pragma once
// A recipe for a whole model, as text: what the programs take after --quant.
//
//   float            nothing
//   W=KIND,A=KIND    KIND is float or a quantizer of the registry, with its bits: "lsq:4", "binary"
//   NAME:W4A4        both of one kind, 2 to 16 bits or 32 (float): lsq:W4A4, iao:W8A8, pact:W4A4
//                    (DoReFa weights)
//   wbab:W2A2        2, 3 or 32 (float) values; the first and the last layer stay float
//   wqaq:W4A4        DoReFa, 1 to 16 or 32 (float) bits, micronet's form; only the first stays
//                    float
//
// wbab counts values, all others count bits: hence no bare "w2a2". Any form may go on with
// ",key=value": keys of the scheme, and options of its quantizers and their observers. An option
// holds for weights and activations, where both have it; w_ or a_ before its name picks one side.
// scheme_help() lists all; what would have no effect is an error.

#include <optional>
#include <string>
#include <vector>

#include "quant/attach.h"
#include "quant/registry.h"

namespace pare::quant {

/// Where activations are quantized.
///   act        in place of the nonlinearity between two layers: conv, norm, QUANTIZER, pool, conv
///   input      at the input of each quantized layer: conv, norm, relu, pool, QUANTIZER, conv.
///              Binary and ternary quantizers are nonlinearities themselves: the ones between
///              layers are removed, because the sign of what a relu lets through is always +1.
///   automatic  act for binary and ternary activations of a model without branches, else input
enum class Place : uint8_t { automatic, act, input };

/// What becomes of a batch norm behind a convolution while a model learns.
enum class BnPlace : uint8_t {
  apart,     // it stays what it is
  fused,     // it is folded into the convolution before quantization: quant/conv_bn.h
  corrected  // likewise, with Krishnamoorthi's correction
};

/// Bits of the layers that a name fits; of several such entries the last one holds.
struct LayerBits {
  std::string layer;  // first, last or a path in which * stands for anything
  int bits = 32;      // 32: float
  bool operator==(const LayerBits&) const = default;
};

struct Scheme {
  std::optional<QuantizerSpec> weight = {}, activation = {};  // none: float; checked
  /// Layers left float: these words, or paths in which * stands for anything.
  std::vector<std::string> keep = {"first", "last"};
  /// For the weights and inputs of the first and the last layer; none: they are like the others.
  std::optional<QuantizerSpec> edge_weight = {}, edge_input = {};
  /// Where bits differ from those of weight and activation, or of the edges; after `keep`.
  std::vector<LayerBits> weight_bits = {}, input_bits = {};
  Place place = Place::automatic;
  BnPlace bn = BnPlace::apart;
  bool xnor = false;  // XNOR-Net's output scale K

  /// Whether it changes a model at all.
  bool active() const { return weight || activation; }
};

/// Throws on anything it does not understand, saying what it would.
Scheme parse_scheme(const std::string& text);
/// Canonical text: parse_scheme(to_string(s)) is s.
std::string to_string(const Scheme& scheme);
/// Every form, key, quantizer, observer and option, a line each.
std::string scheme_help();

/// The quantizer of a layer's weight or input; nothing: it stays float.
std::optional<QuantizerSpec> spec_of(const Scheme& scheme, Role role, const LayerInfo& layer);
/// A name in the scheme that fits no layer of the model is a typing error.
void check_names(nn::Layer& model, const Scheme& scheme);

/// Puts the quantizers of a scheme into a float model. To fuse batch norms it must run the model
/// once, on `example` [1, H, W, C].
Report apply(nn::Layer& model, const Scheme& scheme, const Tensor& example = {});

}  // namespace pare::quant
