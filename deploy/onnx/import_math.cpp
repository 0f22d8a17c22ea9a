// Functions of single values, arithmetic and sums.

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/ops.h"
#include "deploy/onnx/import_signs.h"
#include "nn/layers.h"

namespace pare::onnx {

namespace {

using Kind = Pointwise::Kind;

template <Kind kKind>
void activation(Importer& in, const NodeProto& n) {
  in.add_layer(n, nn::Activation({.kind = kKind}));
}

void leaky_relu(Importer& in, const NodeProto& n) {
  in.add_layer(n, nn::LeakyReLU(number(n, "alpha", 0.01f)));
}

/// clamp(a x + b, 0, 1)
void hard_sigmoid(Importer& in, const NodeProto& n) {
  const float a = number(n, "alpha", 0.2f), b = number(n, "beta", 0.5f);
  in.add_function(n, [a, b](const std::vector<Tensor>& x) { return clamp(x[0] * a + b, 0, 1); });
}

/// A limit of Clip: an input since version 11, before an attribute.
float limit(Importer& in, const NodeProto& n, size_t position, const char* name, float usual) {
  if (!in.has(n, position)) return number(n, name, usual);
  const std::vector<float> values = float_values(in.needed(n, position, name).data);
  if (values.size() != 1) in.refuse(n, "its limits are not single numbers");
  return values[0];
}

void clip(Importer& in, const NodeProto& n) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float lo = limit(in, n, 1, "min", -kInfinity), hi = limit(in, n, 2, "max", kInfinity);
  if (lo == 0 && hi == 6) return in.add_layer(n, nn::ReLU6());
  // An empty range is its upper end.
  in.add_layer(n, nn::Activation({.kind = Kind::clamp, .a = std::min(lo, hi), .b = hi}));
}

/// A constant whose sizes are matched from the back with those of a value, where images are NHWC.
Tensor fitted(const Tensor& constant, int dims) {
  if (dims != 4 || constant.numel() == 1) return constant;
  std::vector<int64_t> sizes(static_cast<size_t>(std::max(4 - constant.dims(), 0)), 1);
  sizes.insert(sizes.end(), constant.shape().begin(), constant.shape().end());
  return nchw_to_nhwc(constant.view(Shape(sizes)));
}

using Binary = Tensor (*)(const Tensor&, const Tensor&);

template <Binary kOp>
void arithmetic(Importer& in, const NodeProto& n) {
  if (n.find("axis")) in.refuse(n, "it is told which axes to match");
  if (!in.has(n, 0) || !in.has(n, 1)) in.refuse(n, "it has less than two inputs");
  const StaticValue *a = in.constant(n, 0), *b = in.constant(n, 1);
  if (a && b) in.refuse(n, "both of its inputs are constants");
  if (!a && !b) {
    return in.add_function(
        n,
        [](const std::vector<Tensor>& x) {
          PARE_CHECK(x[0].dims() == x[1].dims(), "onnx: operands have ", x[0].dims(), " and ",
                     x[1].dims(), " dimensions");
          return kOp(x[0], x[1]);
        },
        {n.inputs[0], n.inputs[1]}, n.outputs[0]);
  }
  const Tensor constant = file_tensor((a ? a : b)->data);
  const bool first = a != nullptr;
  in.add_function(
      n,
      [constant, first](const std::vector<Tensor>& x) {
        PARE_CHECK(constant.dims() <= x[0].dims() || constant.numel() == 1,
                   "onnx: a constant has more dimensions than the value it meets");
        const Tensor c = fitted(constant, x[0].dims());
        return first ? kOp(c, x[0]) : kOp(x[0], c);
      },
      {n.inputs[first ? 1 : 0]}, n.outputs[0]);
}

Tensor plus(const Tensor& a, const Tensor& b) { return a + b; }
Tensor minus(const Tensor& a, const Tensor& b) { return a - b; }
Tensor times(const Tensor& a, const Tensor& b) { return a * b; }
Tensor over(const Tensor& a, const Tensor& b) { return a / b; }

// Conditions are 1 and 0. sign(0) is +1 here, and 0 in ONNX.
Tensor at_least(const Tensor& a, const Tensor& b) { return (sign(a - b) + 1) * 0.5f; }
Tensor greater(const Tensor& a, const Tensor& b) { return (1 - sign(b - a)) * 0.5f; }
Tensor sign_or_0(const Tensor& x) { return (sign(x) - sign(x * -1)) * 0.5f; }

void greater_or_equal(Importer& in, const NodeProto& n) {
  if (!binary_at(in, n)) arithmetic<at_least>(in, n);
}
void abs(Importer& in, const NodeProto& n) {
  if (!ternary_at(in, n)) activation<Kind::abs>(in, n);
}
void sign(Importer& in, const NodeProto& n) {
  in.add_function(n, [](const std::vector<Tensor>& x) { return sign_or_0(x[0]); });
}

/// y = condition a + (1 - condition) b
void where(Importer& in, const NodeProto& n) {
  std::vector<std::string> names;
  std::vector<Tensor> constants(3);
  for (size_t k = 0; k < 3; ++k) {
    if (const StaticValue* value = in.constant(n, k)) {
      constants[k] = file_tensor(value->data);
      const auto finite = [](float v) { return std::isfinite(v); };
      const auto all = constants[k].span();
      if (!std::all_of(all.begin(), all.end(), finite)) in.refuse(n, "it chooses infinities");
    } else {
      names.push_back(n.inputs.at(k));
    }
  }
  if (names.empty()) in.refuse(n, "all of its inputs are constants");
  in.add_function(
      n,
      [constants](const std::vector<Tensor>& x) {
        std::vector<Tensor> v = constants;
        auto given = x.begin();
        for (Tensor& t : v) t = t ? fitted(t, x[0].dims()) : *given++;
        return v[0] * v[1] + (1 - v[0]) * v[2];
      },
      names, n.outputs[0]);
}

/// Over one axis, which must be the last one here: channels of images.
template <Tensor (*kOp)(const Tensor&)>
void over_axis(Importer& in, const NodeProto& n) {
  const bool joined = in.opset() < 13;  // all axes from this one on were one
  const int64_t axis = integer(n, "axis", joined ? 1 : -1);
  in.add_function(n, [axis, joined](const std::vector<Tensor>& x) {
    const int dims = x[0].dims(), at = memory_axis(axis, dims);
    PARE_CHECK(at == dims - 1 && (!joined || dims == 2), "onnx: axis ", axis, " of ", dims,
               " dimensions is not supported");
    return kOp(x[0]);
  });
}

void reduce_mean(Importer& in, const NodeProto& n) {
  std::vector<int64_t> axes = numbers(n, "axes", {});
  if (in.has(n, 1)) axes = in.integers_at(n, 1, "axes");
  if (axes.empty()) in.refuse(n, "it names no axes");
  const bool keep = integer(n, "keepdims", 1) != 0;
  in.add_function(n, [axes, keep](const std::vector<Tensor>& x) {
    Axes at;
    for (int64_t axis : axes) at.push_back(memory_axis(axis, x[0].dims()));
    const Tensor y = mean(x[0], at, keep);
    PARE_CHECK(keep || x[0].dims() != 4 || y.dims() <= 2,
               "onnx: a mean that leaves parts of an image without their axes");
    return y;
  });
}

}  // namespace

const ImportRules& import_math_rules() {
  static const ImportRules kRules = {{"Relu", activation<Kind::relu>},
                                     {"Sigmoid", activation<Kind::sigmoid>},
                                     {"Tanh", activation<Kind::tanh>},
                                     {"HardSwish", activation<Kind::hard_swish>},
                                     {"Exp", activation<Kind::exp>},
                                     {"Log", activation<Kind::log>},
                                     {"Sqrt", activation<Kind::sqrt>},
                                     {"Abs", abs},
                                     {"GreaterOrEqual", greater_or_equal},
                                     {"Greater", arithmetic<greater>},
                                     {"Sign", sign},
                                     {"Where", where},
                                     {"Round", activation<Kind::round>},
                                     {"LeakyRelu", leaky_relu},
                                     {"HardSigmoid", hard_sigmoid},
                                     {"Clip", clip},
                                     {"Add", arithmetic<plus>},
                                     {"Sub", arithmetic<minus>},
                                     {"Mul", arithmetic<times>},
                                     {"Div", arithmetic<over>},
                                     {"Softmax", over_axis<softmax>},
                                     {"LogSoftmax", over_axis<log_softmax>},
                                     {"ReduceMean", reduce_mean}};
  return kRules;
}

}  // namespace pare::onnx
