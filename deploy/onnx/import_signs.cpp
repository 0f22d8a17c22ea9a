#include "deploy/onnx/import_signs.h"

#include <algorithm>

#include "deploy/onnx/fixed_quantizer.h"

namespace pare::onnx {

namespace {

using Kind = nn::Codes::Kind;

std::optional<float> number_at(const Importer& in, const NodeProto& n, size_t position) {
  const StaticValue* value = in.constant(n, position);
  if (!value || value->data.numel() != 1) return {};
  return float_values(value->data).at(0);
}

/// The only node that reads the result of n, if it is of that kind and reads it first.
const NodeProto* next(const Importer& in, const NodeProto& n, const char* op) {
  const NodeProto* reader = in.only_reader(n.outputs[0]);
  const bool fits = reader && reader->op == op && reader->inputs.at(0) == n.outputs[0];
  return fits ? reader : nullptr;
}

/// Whether a quantizer leaves -1, 0 and 1 what they are.
bool keeps_signs(const nn::Codes& c) {
  const Tensor signs = Tensor::of({-1, 0, 1});
  return c.scale.size() == 1 && FixedQuantizer(c).forward(signs) == signs;
}

/// The quantizer in place of all nodes up to `last`, and of a pair behind it that changes nothing.
void add(Importer& in, const NodeProto& n, const nn::Codes& codes, const NodeProto& last) {
  const std::string& y = last.outputs[0];
  in.add_layer(n, FixedQuantizer(codes), n.inputs[0], y);
  in.skip(last);
  const NodeProto* q = next(in, last, "QuantizeLinear");
  if (!q) return;
  const auto pair = pair_at(in, *q);
  if (!pair || !keeps_signs(pair->codes)) return;
  in.skip(*q);
  skip_pair(in, *pair, y);
}

}  // namespace

bool binary_at(Importer& in, const NodeProto& n) {
  const NodeProto* where = next(in, n, "Where");
  if (!where || in.constant(n, 0) || number_at(in, n, 1) != 0.0f) return false;
  if (number_at(in, *where, 1) != 1.0f || number_at(in, *where, 2) != -1.0f) return false;
  add(in, n, {.kind = Kind::binary, .bits = 1, .lo = -1, .hi = 1, .spacing = 2}, *where);
  return true;
}

bool ternary_at(Importer& in, const NodeProto& n) {
  const NodeProto* greater = next(in, n, "Greater");
  const NodeProto* where = greater ? next(in, *greater, "Where") : nullptr;
  if (!where || in.constant(n, 0) || number_at(in, *where, 2) != 0.0f) return false;
  const auto threshold = number_at(in, *greater, 1);
  const auto all = in.readers(n.inputs[0]);
  const auto sign = std::find_if(all.begin(), all.end(), [&](const NodeProto* reader) {
    return reader->op == "Sign" && reader->outputs[0] == where->inputs.at(1);
  });
  if (!threshold || *threshold < 0 || sign == all.end()) return false;
  if (in.only_reader((*sign)->outputs[0]) != where) return false;
  const nn::Codes codes{
      .kind = Kind::ternary, .bits = 2, .lo = -1, .hi = 1, .threshold = *threshold};
  add(in, n, codes, *where);
  in.skip(*greater);
  in.skip(**sign);
  return true;
}

}  // namespace pare::onnx
