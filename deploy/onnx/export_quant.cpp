// Quantizers of activations, and integer weights.

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "deploy/onnx/exporter.h"

namespace pare::onnx {

using nn::Graph;

namespace {

/// A scale or zero point: a single one has no dimensions.
std::vector<int64_t> dims_for(size_t count) {
  return count == 1 ? std::vector<int64_t>{} : std::vector<int64_t>{static_cast<int64_t>(count)};
}

/// Says how many bits are meant, where the type has more.
void note_bits(NodeProto& node, int bits) {
  node.note = "bits: " + std::to_string(bits);
  node.metadata["bits"] = std::to_string(bits);
}

std::string key_of(const std::string& x, const ActivationGrid& g) {
  std::string key = str(x, ' ', static_cast<int>(g.type), ' ', g.lo, ' ', g.hi);
  for (size_t k = 0; k < g.step.size(); ++k) {
    key += str(std::hexfloat, ' ', g.step[k], ' ', g.scale[k], ' ', g.zero[k]);
  }
  return key;
}

/// Whether all that reads a layer's result are signs of it.
bool gives_signs(const Graph& graph, const Facts& facts, int i) {
  if (facts.norm_of(i) != Graph::kNone) i = facts.norm_of(i);
  const std::vector<int>& users = graph[i].users;
  return i != graph.output && !users.empty() && std::all_of(users.begin(), users.end(), [&](int u) {
           const nn::Coded* q = facts.quantizer(u);
           if (q) return q->codes_for({}).kind == nn::Codes::Kind::binary;
           return graph[u].op == "max_pool2d" && gives_signs(graph, facts, u);
         });
}

}  // namespace

/// q = clip(round(x / step) + zero, lo, hi),   y = scale (q - zero)
std::string Exporter::pair(const std::string& x, const ActivationGrid& g, const std::string& name) {
  std::string& made = made_pairs_[key_of(x, g)];
  if (!made.empty()) return made;
  const std::vector<int64_t> dims = dims_for(g.step.size());
  const std::vector<NodeAttribute> axis = g.per_tensor()
                                              ? std::vector<NodeAttribute>{}
                                              : std::vector<NodeAttribute>{{"axis", int64_t{1}}};
  const std::string step = out_.constant(floats(name + ".step", dims, g.step));
  const std::string scale =
      g.step == g.scale ? step : out_.constant(floats(name + ".scale", dims, g.scale));
  const std::string zero = out_.constant(integers(name + ".zero_point", g.type, dims, g.zero));
  const std::string q = out_.node("QuantizeLinear", name + ".quantize", {x, step, zero}, axis);
  note_bits(out_.last(), g.bits);
  made =
      out_.node("DequantizeLinear", name + ".dequantize", {clipped(q, g, name), scale, zero}, axis);
  if (g.per_tensor()) scales_[made] = g.scale[0];
  return made;
}

std::string Exporter::clipped(const std::string& q, const ActivationGrid& g,
                              const std::string& name) {
  if (g.fills_type()) return q;
  const std::string lo = out_.constant(integers(name + ".lo", g.type, {}, {g.lo}));
  const std::string hi = out_.constant(integers(name + ".hi", g.type, {}, {g.hi}));
  return out_.node("Clip", name + ".clip", {q, lo, hi});
}

std::string Exporter::quantizer(int i) {
  const nn::Codes::Kind kind = facts_.quantizer(i)->codes_for({}).kind;
  if (kind != nn::Codes::Kind::uniform) {
    const std::string y = signs(i);
    return options_.qdq ? pair(y, plan_.grid(i), node(i).name) : y;
  }
  const int from = input(i, 0);
  const ActivationGrid g = plan_.grid(i);
  const auto& filled = plan_.fill(from);
  return filled && *filled == g ? value(from) : pair(value(from), g, node(i).name);
}

std::string Exporter::plus_or_minus(int i) {
  const std::string& name = node(i).name;
  const std::string zero = out_.constant(name + ".zero", 0.0f);
  const std::string condition = out_.node("GreaterOrEqual", name + ".is_positive", {arg(i), zero});
  return out_.node(
      "Where", name + ".sign",
      {condition, out_.constant(name + ".one", 1.0f), out_.constant(name + ".minus_one", -1.0f)});
}

/// binary   x >= 0 ? 1 : -1
/// ternary  |x| > threshold ? sign(x) : 0
std::string Exporter::signs(int i) {
  const nn::Codes c = facts_.quantizer(i)->codes_for({});
  if (c.kind == nn::Codes::Kind::binary) return plus_or_minus(i);
  const std::string x = arg(i), name = node(i).name;
  const std::string size = out_.node("Abs", name + ".abs", {x});
  const std::string kept = out_.node("Greater", name + ".is_kept",
                                     {size, out_.constant(name + ".threshold", c.threshold)});
  return out_.node(
      "Where", name + ".ternary",
      {kept, out_.node("Sign", name + ".sign", {x}), out_.constant(name + ".zero", 0.0f)});
}

LayerWeights Exporter::weights_of(int i) {
  LayerWeights w = layer_weights(
      traced_, facts_, i,
      {.integers = options_.qdq, .symmetric = options_.symmetric, .int4 = options_.int4});
  ++report_.layers;
  if (w.integers) ++report_.integer_layers;
  if (!w.why_float.empty()) report_.notes.push_back(w.why_float);
  return w;
}

std::vector<std::string> Exporter::layer_inputs(int i, const std::string& x,
                                                const LayerWeights& w) {
  const std::string& name = node(i).name;
  const Shape& shape = w.weight.shape();
  const std::vector<int64_t> bias_dims = {static_cast<int64_t>(w.bias.size())};
  const auto input_scale = scales_.find(x);
  std::vector<std::string> inputs = {x};
  if (w.integers && !w.bias.empty() && input_scale != scales_.end()) {
    IntegerWeight integer = *w.integers;
    make_room_for_bias(integer, w.bias, input_scale->second);
    std::vector<float> bias = w.bias;
    if (gives_signs(traced_.graph, facts_, i)) {
      // For whole n: n + b >= 0 where n + floor(b) >= 0, and not where b is rounded.
      for (size_t k = 0; k < bias.size(); ++k) {
        const float step = input_scale->second * integer.scale[k];
        bias[k] = std::floor(bias[k] / step) * step;
      }
    }
    inputs.push_back(dequantized(name + ".weight", integer, shape));
    inputs.push_back(integer_bias(name + ".bias", integer, input_scale->second, bias));
    return inputs;
  }
  if (w.integers) {
    inputs.push_back(dequantized(name + ".weight", *w.integers, shape));
  } else {
    const Tensor ordered = shape.dims() == 4 ? nhwc_to_nchw(w.weight) : w.weight;
    inputs.push_back(out_.constant(floats(name + ".weight", file_dims(shape),
                                          {ordered.span().begin(), ordered.span().end()})));
  }
  if (!w.bias.empty()) inputs.push_back(out_.constant(floats(name + ".bias", bias_dims, w.bias)));
  return inputs;
}

std::string Exporter::dequantized(const std::string& name, const IntegerWeight& w,
                                  const Shape& shape) {
  const Tensor codes = Tensor::of(w.codes, shape);
  const Tensor ordered = shape.dims() == 4 ? nhwc_to_nchw(codes) : codes;
  const std::vector<int64_t> values(ordered.span().begin(), ordered.span().end());
  const std::vector<int64_t> filters = {shape[0]};
  const std::string q =
      out_.constant(integers(name + "_quantized", w.type, file_dims(shape), values));
  const std::string scale = out_.constant(floats(name + "_scale", filters, w.scale));
  const std::string zero = out_.constant(integers(name + "_zero_point", w.type, filters, w.zero));
  const std::string result =
      out_.node("DequantizeLinear", name, {q, scale, zero}, {{"axis", int64_t{0}}});
  note_bits(out_.last(), w.bits);
  return result;
}

/// round(bias / s) as int32, s = input scale * weight scale: what runtimes add to their sums.
std::string Exporter::integer_bias(const std::string& name, const IntegerWeight& w,
                                   float input_scale, const std::vector<float>& bias) {
  std::vector<float> scale;
  std::vector<int64_t> values;
  for (size_t k = 0; k < bias.size(); ++k) {
    scale.push_back(input_scale * w.scale[k]);
    const double code = static_cast<double>(bias[k]) / static_cast<double>(scale[k]);
    values.push_back(static_cast<int64_t>(std::nearbyint(code)));
  }
  const std::vector<int64_t> dims = {static_cast<int64_t>(bias.size())};
  const std::string q = out_.constant(integers(name + "_quantized", Type::int32, dims, values));
  return out_.node("DequantizeLinear", name,
                   {q, out_.constant(floats(name + "_scale", dims, scale))},
                   {{"axis", int64_t{0}}});
}

}  // namespace pare::onnx
