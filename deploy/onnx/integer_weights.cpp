#include "deploy/onnx/integer_weights.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace pare::onnx {

using nn::Graph;

namespace {

constexpr int kNone = Graph::kNone;
constexpr float kSmallest = 1e-30f;  // a scale must not be 0

/// a y + c by channel is what a batch norm does in eval mode.
struct Affine {
  std::vector<float> a, c;
};

Affine affine_of(const nn::TracedValues& traced, int norm) {
  const Graph::Node& n = traced.graph[norm];
  const auto tensor = [&](int i) {
    return i == kNone ? Tensor{} : traced.values[static_cast<size_t>(i)];
  };
  const Tensor gamma = tensor(traced.graph.input_of(norm, 1));
  const Tensor beta = tensor(traced.graph.input_of(norm, 2));
  const Tensor mean = tensor(n.state.at(0)), var = tensor(n.state.at(1));
  Affine f;
  for (int64_t k = 0; k < mean.numel(); ++k) {
    const float a =
        (gamma ? gamma.data()[k] : 1.0f) / std::sqrt(var.data()[k] + n.get<float>("eps"));
    f.a.push_back(a);
    f.c.push_back((beta ? beta.data()[k] : 0.0f) - a * mean.data()[k]);
  }
  return f;
}

/// Codes of filters from codes of anything, as signed bytes; without a value where they do not fit.
std::optional<IntegerWeight> signed_bytes(const nn::Codes& c, const Tensor& y) {
  IntegerWeight w{.bits = c.bits};
  const bool fits = c.lo >= -128 && c.hi <= 127;
  const float shift = fits ? 0.0f : -128.0f;  // 0 .. 255 to -128 .. 127
  if (c.lo + shift < -128 || c.hi + shift > 127 || c.share == QuantShare::channel) return {};
  for (int64_t k = 0; k < y.dim(0); ++k) {
    const size_t from = c.share == QuantShare::tensor ? 0 : static_cast<size_t>(k);
    const float zero = c.zero[from] + shift;
    if (zero < -128 || zero > 127) return {};
    w.scale.push_back(std::max(c.scale[from], kSmallest));
    w.zero.push_back(static_cast<int64_t>(zero));
  }
  for (int32_t code : nn::integers(c, y)) w.codes.push_back(static_cast<float>(code) + shift);
  const int64_t each = y.numel() / y.dim(0);
  for (int64_t i = 0; i < y.numel(); ++i) {  // a scale of 0 makes 0 of any code
    const auto k = static_cast<size_t>(i / each);
    if (w.scale[k] <= kSmallest) w.codes[static_cast<size_t>(i)] = static_cast<float>(w.zero[k]);
  }
  return w;
}

/// Calls f(code, filter) for every code.
template <class F>
void for_each_code(IntegerWeight& w, F&& f) {
  const size_t each = w.codes.size() / w.scale.size();
  for (size_t i = 0; i < w.codes.size(); ++i) f(w.codes[i], i / each);
}

/// a times the weight: |a| in the scale, its sign in the codes. The one code without a counterpart,
/// -128, becomes 127.
void multiply(IntegerWeight& w, const std::vector<float>& a) {
  for_each_code(w, [&](float& code, size_t k) {
    if (a[k] == 0) code = static_cast<float>(w.zero[k]);
    if (a[k] < 0) code = std::min(-code, 127.0f);
  });
  for (size_t k = 0; k < a.size(); ++k) {
    if (a[k] < 0) w.zero[k] = std::min<int64_t>(-w.zero[k], 127);
    w.scale[k] = std::max(w.scale[k] * std::fabs(a[k]), kSmallest);
  }
}

/// Zero points 0: filters that have another one get the scale of their largest magnitude.
void make_symmetric(IntegerWeight& w) {
  std::vector<float> largest(w.scale.size()), factor(w.scale.size(), 1.0f);
  for_each_code(w, [&](float code, size_t k) {
    largest[k] = std::max(largest[k], std::fabs(code - static_cast<float>(w.zero[k])));
  });
  for (size_t k = 0; k < factor.size(); ++k) {
    if (w.zero[k] != 0) factor[k] = std::max(largest[k], 1.0f) / 127.0f;
  }
  for_each_code(w, [&](float& code, size_t k) {
    code = std::nearbyint((code - static_cast<float>(w.zero[k])) / factor[k]);
  });
  for (size_t k = 0; k < factor.size(); ++k) w.scale[k] *= factor[k], w.zero[k] = 0;
}

/// Whether four bits hold every code and zero point.
bool fits_int4(const IntegerWeight& w) {
  const auto fits = [](auto v) { return v >= -8 && v <= 7; };
  return std::all_of(w.codes.begin(), w.codes.end(), fits) &&
         std::all_of(w.zero.begin(), w.zero.end(), fits);
}

}  // namespace

LayerWeights layer_weights(const nn::TracedValues& traced, const Facts& facts, int layer,
                           const WeightOptions& options) {
  const Graph& graph = traced.graph;
  const int weight = graph.input_of(layer, 1), bias = graph.input_of(layer, 2);
  PARE_CHECK(weight != kNone && facts.is_static(weight) && (bias == kNone || facts.is_static(bias)),
             "onnx: the weights of ", graph[layer].name, " depend on the input");
  LayerWeights out{.weight = traced.values[static_cast<size_t>(weight)]};
  if (bias != kNone) {
    const Tensor& b = traced.values[static_cast<size_t>(bias)];
    out.bias.assign(b.data(), b.data() + b.numel());
  }
  const auto* coded = graph[weight].is_tensor() ? nullptr : graph[weight].as<nn::Coded>();
  if (coded && options.integers) {
    out.integers = signed_bytes(coded->codes_for(out.weight), out.weight);
    if (!out.integers) {
      out.why_float = graph[layer].name + ": its weight has codes that are no signed bytes";
    }
  }
  if (facts.norm_of(layer) != kNone) {
    const Affine f = affine_of(traced, facts.norm_of(layer));
    if (out.integers) multiply(*out.integers, f.a);
    out.weight = out.weight.clone();
    const int64_t each = out.weight.numel() / out.weight.dim(0);
    for (int64_t i = 0; i < out.weight.numel(); ++i) {
      out.weight.data()[i] *= f.a[static_cast<size_t>(i / each)];
    }
    out.bias.resize(f.a.size());
    for (size_t k = 0; k < f.a.size(); ++k) out.bias[k] = f.a[k] * out.bias[k] + f.c[k];
  }
  if (!out.integers) return out;
  if (options.symmetric) make_symmetric(*out.integers);
  if (options.int4 && fits_int4(*out.integers)) out.integers->type = Type::int4;
  return out;
}

void make_room_for_bias(IntegerWeight& w, const std::vector<float>& bias, float input_scale) {
  constexpr float kLargest = 1 << 30;
  for (size_t k = 0; k < bias.size(); ++k) {
    const float needed = std::fabs(bias[k]) / (input_scale * kLargest), was = w.scale[k];
    if (was >= needed) continue;
    w.scale[k] = needed;
    const size_t each = w.codes.size() / w.scale.size();
    const auto zero = static_cast<float>(w.zero[k]);
    for (size_t i = k * each; i < (k + 1) * each; ++i) {
      w.codes[i] = std::nearbyint((w.codes[i] - zero) * (was / needed)) + zero;
    }
  }
}

}  // namespace pare::onnx
