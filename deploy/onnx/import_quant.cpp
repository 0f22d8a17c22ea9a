// Quantizers, and layers of integers. Values that are integers in the file are whole numbers in
// float32 here, which holds them and their sums up to 2^24 exactly.

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/ops.h"
#include "deploy/onnx/fixed_quantizer.h"
#include "deploy/onnx/import_signs.h"

namespace pare::onnx {

namespace {

using Ints = std::vector<int64_t>;

/// Scale and zero point at two positions of a node, and the codes of their type.
nn::Codes codes_at(const Importer& in, const NodeProto& n, size_t scale, size_t zero) {
  nn::Codes c{.scale = float_values(in.needed(n, scale, "scale").data)};
  Type type = Type::uint8;
  if (in.has(n, zero)) {
    const TensorData& z = in.needed(n, zero, "zero point").data;
    type = z.type;
    c.zero = float_values(z);
  } else {
    c.zero.assign(c.scale.size(), 0.0f);
  }
  if (c.zero.size() != c.scale.size()) in.refuse(n, "it has not as many zero points as scales");
  switch (type) {
    case Type::uint8:
    case Type::uint16:
    case Type::uint4:
      c.bits = static_cast<int>(byte_count(type, 2)) * 4;
      c.lo = 0, c.hi = std::ldexp(1.0f, c.bits) - 1;
      break;
    case Type::int8:
    case Type::int16:
    case Type::int4:
    case Type::int32:
      c.bits = static_cast<int>(byte_count(type, 2)) * 4;
      c.lo = -std::ldexp(1.0f, c.bits - 1), c.hi = std::ldexp(1.0f, c.bits - 1) - 1;
      break;
    default:
      in.refuse(n, "its zero point is of type " + type_name(type));
  }
  return c;
}

/// Bits as exports of this library write them: "bits: 4".
int noted_bits(const NodeProto& n, int usual) {
  const std::string key = "bits: ";
  return n.note.starts_with(key) ? std::atoi(n.note.c_str() + key.size()) : usual;
}

/// A vector along one axis of a value, so that arithmetic matches it.
Tensor along(const std::vector<float>& v, int64_t axis, int dims) {
  const auto n = static_cast<int64_t>(v.size());
  if (n == 1) return Tensor::of(v, {1});
  std::vector<int64_t> sizes(static_cast<size_t>(dims), 1);
  sizes[static_cast<size_t>(memory_axis(axis, dims))] = n;
  return Tensor::of(v, Shape(sizes));
}

/// clamp(round(x / scale) + zero, lo, hi)
Tensor to_codes(const Tensor& x, const nn::Codes& c, int64_t axis) {
  const Tensor scale = along(c.scale, axis, x.dims()), zero = along(c.zero, axis, x.dims());
  return clamp(round(x / scale) + zero, c.lo, c.hi);
}

Tensor from_codes(const Tensor& q, const nn::Codes& c, int64_t axis) {
  return (q - along(c.zero, axis, q.dims())) * along(c.scale, axis, q.dims());
}

/// Which scale an element has.
size_t scale_at(const Ints& dims, int64_t axis, size_t i, size_t scales) {
  int64_t inner = 1;
  const int64_t at = axis < 0 ? axis + static_cast<int64_t>(dims.size()) : axis;
  for (size_t k = static_cast<size_t>(at) + 1; k < dims.size(); ++k) inner *= dims[k];
  return static_cast<size_t>(static_cast<int64_t>(i) / inner) % scales;
}

/// Integers with a scale and a zero point; those of constants become numbers that remember them.
void dequantize(Importer& in, const NodeProto& n) {
  if (integer(n, "block_size", 0)) in.refuse(n, "it has scales for blocks");
  const int64_t axis = integer(n, "axis", 1);
  const StaticValue* x = in.constant(n, 0);
  if (!x) {
    const nn::Codes c = codes_at(in, n, 1, 2);
    return in.add_function(
        n, [c, axis](const std::vector<Tensor>& q) { return from_codes(q[0], c, axis); });
  }
  nn::Codes c{.scale = float_values(in.needed(n, 1, "scale").data)};
  c.zero.assign(c.scale.size(), 0.0f);
  if (in.has(n, 2)) c = codes_at(in, n, 1, 2);
  std::vector<float> values = float_values(x->data);
  const Ints& dims = x->data.dims;
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t k = scale_at(dims, axis, i, c.scale.size());
    values[i] = c.scale[k] * (values[i] - c.zero[k]);
  }
  c.share = c.scale.size() == 1 ? QuantShare::tensor : QuantShare::filter;
  c.bits = noted_bits(n, c.bits);
  StaticValue result{floats(n.outputs[0], dims, values),
                     {},
                     axis < 0 ? axis + static_cast<int64_t>(dims.size()) : axis};
  if (x->data.type != Type::int32) result.codes = c;
  in.set_constant(n.outputs[0], std::move(result));
}

}  // namespace

std::optional<Pair> pair_at(const Importer& in, const NodeProto& q) {
  Pair p{codes_at(in, q, 1, 2), {}, in.readers(q.outputs[0])};
  if (const NodeProto* clip = in.only_reader(q.outputs[0]); clip && clip->op == "Clip") {
    if (!in.constant(*clip, 1) || !in.constant(*clip, 2)) return {};
    p.codes.lo = std::max(p.codes.lo, float_values(in.constant(*clip, 1)->data).at(0));
    p.codes.hi = std::min(p.codes.hi, float_values(in.constant(*clip, 2)->data).at(0));
    p.middle = {clip};
    p.ends = in.readers(clip->outputs[0]);
  }
  std::optional<nn::Codes> end;
  for (const NodeProto* reader : p.ends) {
    if (reader->op != "DequantizeLinear") return {};
    const nn::Codes c = codes_at(in, *reader, 1, 2);
    if (c.zero != p.codes.zero || (end && c.scale != end->scale)) return {};
    if (integer(*reader, "axis", 1) != integer(q, "axis", 1)) return {};
    end = c;
  }
  if (!end) return {};
  p.codes.input_scale = end->scale[0] / p.codes.scale[0];
  const bool one_ratio = end->scale.size() == 1 || end->scale == p.codes.scale;
  p.codes.scale = end->scale;
  p.codes.bits = noted_bits(q, p.codes.bits);
  return one_ratio ? std::optional(p) : std::nullopt;
}

void skip_pair(Importer& in, const Pair& pair, const std::string& y) {
  for (const NodeProto* skipped : pair.middle) in.skip(*skipped);
  for (const NodeProto* end : pair.ends) {
    in.skip(*end);
    in.same(end->outputs[0], y);
  }
}

namespace {

/// Weights that a file keeps as numbers, and quantizes when it is loaded.
void quantize_constant(Importer& in, const NodeProto& n, const TensorData& x, int64_t axis) {
  const nn::Codes c = codes_at(in, n, 1, 2);
  const std::vector<float> values = float_values(x);
  Ints codes;
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t k = scale_at(x.dims, axis, i, c.scale.size());
    const float code = std::nearbyint(values[i] / c.scale[k]) + c.zero[k];
    codes.push_back(static_cast<int64_t>(std::clamp(code, c.lo, c.hi)));
  }
  const Type type = in.has(n, 2) ? in.needed(n, 2, "zero point").data.type : Type::uint8;
  in.set_constant(n.outputs[0], {integers(n.outputs[0], type, x.dims, codes)});
}

void quantize(Importer& in, const NodeProto& n) {
  const int64_t axis = integer(n, "axis", 1);
  if (const StaticValue* x = in.constant(n, 0)) return quantize_constant(in, n, x->data, axis);
  auto pair = pair_at(in, n);
  const bool channels = pair && pair->codes.scale.size() > 1;
  if (!pair || (channels && axis != 1)) {
    const nn::Codes c = codes_at(in, n, 1, 2);
    return in.add_function(
        n, [c, axis](const std::vector<Tensor>& x) { return to_codes(x[0], c, axis); });
  }
  if (channels) pair->codes.share = QuantShare::channel;
  const std::string y = pair->ends[0]->outputs[0];
  in.add_layer(n, FixedQuantizer(pair->codes), n.inputs[0], y);
  skip_pair(in, *pair, y);
}

/// Integers around their zero point.
Tensor centered(const TensorData& t, const nn::Codes& c) {
  Tensor x = file_tensor(t);
  const int64_t each = x.numel() / static_cast<int64_t>(c.zero.size());
  for (int64_t i = 0; i < x.numel(); ++i) x.data()[i] -= c.zero[static_cast<size_t>(i / each)];
  return x.dims() == 4 ? nchw_to_nhwc(x) : x;
}

/// Scales of a layer's sums in steps of its result: s_x s_w / s_y.
std::vector<float> ratios(const nn::Codes& x, const nn::Codes& w, const nn::Codes& y) {
  std::vector<float> all;
  for (float s : w.scale) all.push_back(x.scale[0] * s / y.scale[0]);
  return all;
}

/// Inputs: x, its scale and zero point, w, its scale and zero point, those of y, bias.
void qlinear_conv(Importer& in, const NodeProto& n) {
  const nn::Codes cx = codes_at(in, n, 1, 2), cw = codes_at(in, n, 4, 5),
                  cy = codes_at(in, n, 6, 7);
  const TensorData& weight = in.needed(n, 3, "weight").data;
  if (weight.dims.size() != 4) in.refuse(n, "its weight has not 4 dimensions");
  const Tensor w = centered(weight, cw);
  const Ints strides = numbers(n, "strides", {1, 1}), pads = numbers(n, "pads", {0, 0, 0, 0});
  const Ints dilations = numbers(n, "dilations", {1, 1});
  if (word(n, "auto_pad", "NOTSET") != "NOTSET" || pads[0] != pads[2] || pads[1] != pads[3]) {
    in.refuse(n, "its padding is not the same all round");
  }
  const auto hw = [](const Ints& v) {
    return Hw{static_cast<int>(v.at(0)), static_cast<int>(v.at(1))};
  };
  const ConvOptions options{.stride = hw(strides),
                            .pad = hw(pads),
                            .dilation = hw(dilations),
                            .groups = static_cast<int>(integer(n, "group", 1)),
                            .exact = true};
  const Tensor bias = in.has(n, 8) ? file_tensor(in.needed(n, 8, "bias").data) : Tensor{};
  const std::vector<float> scale = ratios(cx, cw, cy);
  in.add_function(n, [=](const std::vector<Tensor>& x) {
    const Tensor sum = conv2d(x[0] - cx.zero[0], w, bias, options);
    return clamp(round(sum * along(scale, 1, 4)) + cy.zero[0], cy.lo, cy.hi);
  });
}

/// Inputs: a, its scale and zero point, b, its scale and zero point, those of y.
void qlinear_mat_mul(Importer& in, const NodeProto& n) {
  const nn::Codes ca = codes_at(in, n, 1, 2), cb = codes_at(in, n, 4, 5),
                  cy = codes_at(in, n, 6, 7);
  const TensorData& weight = in.needed(n, 3, "weight").data;
  if (weight.dims.size() != 2 || cb.scale.size() != 1)
    in.refuse(n, "its weight is no plain matrix");
  const Tensor w = centered(weight, cb);
  const float scale = ratios(ca, cb, cy)[0];
  in.add_function(n, [=](const std::vector<Tensor>& a) {
    PARE_CHECK(a[0].dims() == 2, "onnx: a product of ", a[0].dims(), " dimensions, expected 2");
    const Tensor sum = matmul(a[0] - ca.zero[0], w);
    return clamp(round(sum * scale) + cy.zero[0], cy.lo, cy.hi);
  });
}

}  // namespace

const ImportRules& import_quant_rules() {
  static const ImportRules kRules = {{"QuantizeLinear", quantize},
                                     {"DequantizeLinear", dequantize},
                                     {"QLinearConv", qlinear_conv},
                                     {"QLinearMatMul", qlinear_mat_mul}};
  return kRules;
}

}  // namespace pare::onnx
