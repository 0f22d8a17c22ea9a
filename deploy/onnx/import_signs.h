#pragma once
// Binary and ternary activations as exports of this library write them. Private to deploy/onnx.

#include "deploy/onnx/importer.h"

namespace pare::onnx {

/// The nodes of QuantizeLinear, perhaps Clip, DequantizeLinear, if they follow each other.
struct Pair {
  nn::Codes codes;
  std::vector<const NodeProto*> middle, ends;
};
std::optional<Pair> pair_at(const Importer& in, const NodeProto& q);
/// Its last nodes give the value y, and need no steps of their own.
void skip_pair(Importer& in, const Pair& pair, const std::string& y);

/// Where(n(x, 0), 1, -1) for the comparison n = GreaterOrEqual becomes one quantizer; false: it is
/// something else.
bool binary_at(Importer& in, const NodeProto& n);
/// Where(Greater(n(x), threshold), Sign(x), 0) for n = Abs, likewise.
bool ternary_at(Importer& in, const NodeProto& n);

}  // namespace pare::onnx
