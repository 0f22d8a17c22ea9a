#pragma once
// A recipe for a whole model, as text: what the programs take after --quant.
//
//   float            nothing
//   wbab:W2A2        2, 3 or 32 (float) values; the first and the last layer stay float
//   wqaq:W4A4        DoReFa, 1 to 16 or 32 (float) bits, micronet's form; only the first stays
//                    float
//   W=KIND,A=KIND    KIND is float, binary, ternary or dorefa:BITS; any mix
//
// wbab counts values, wqaq counts bits: hence no bare "w2a2". Any form may go on with ",key=value".
// scheme_help() lists the keys; a key without effect in a scheme is an error.

#include <string>
#include <vector>

#include "quant/attach.h"
#include "quant/binary.h"
#include "quant/dorefa.h"
#include "quant/ternary.h"

namespace pare::quant {

enum class Method : uint8_t { none, binary, ternary, dorefa };

/// Where activations are quantized.
///   act        in place of the nonlinearity between two layers: conv, norm, QUANTIZER, pool, conv
///   input      at the input of each quantized layer: conv, norm, relu, pool, QUANTIZER, conv.
///              Binary and ternary quantizers are nonlinearities themselves: the ones between
///              layers are removed, because the sign of what a relu lets through is always +1.
///   automatic  act for binary and ternary activations of a model without branches, else input
enum class Place : uint8_t { automatic, act, input };

struct Scheme {
  Method weight = Method::none, activation = Method::none;
  int weight_bits = 0, activation_bits = 0;  // DoReFa only
  /// Layers left float: these words, or paths in which * stands for anything.
  std::vector<std::string> keep = {"first", "last"};
  Place place = Place::automatic;
  Ste ste = Ste::clip;                // binary and ternary activations
  float activation_threshold = 0.5f;  // ternary activations
  DorefaForm form = DorefaForm::paper;
  float prescale = 0.0f;  // DoReFa activations; 0: the form's own
  bool xnor = false;      // XNOR-Net's output scale K
  BinaryWeightOptions binary;
  TernaryWeightOptions ternary;

  /// Whether it changes a model at all.
  bool active() const { return weight != Method::none || activation != Method::none; }
};

/// Throws on anything it does not understand, listing the forms.
Scheme parse_scheme(const std::string& text);
/// The W=...,A=... form, with the keys that differ from their defaults; parse_scheme reads it back.
std::string to_string(const Scheme& scheme);
/// The accepted forms and keys, a line each.
std::string scheme_help();

/// The quantizers of a scheme, ready for a socket; empty where the scheme leaves floats.
nn::Layer weight_quantizer(const Scheme& scheme, const Shape& weight);
nn::Layer activation_quantizer(const Scheme& scheme);

/// Puts the scheme into a model. Load float weights first: XNOR's K wraps layers, which adds to
/// their paths.
Report apply(nn::Layer& model, const Scheme& scheme);

}  // namespace pare::quant
