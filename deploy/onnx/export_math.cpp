// Functions of single values, arithmetic and sums.

#include "core/ops.h"
#include "deploy/onnx/exporter.h"

namespace pare::onnx {

using nn::Graph;

namespace {

using Ints = std::vector<int64_t>;

/// An ONNX operator that is the op.
template <const char* const& kOp>
std::string same(Exporter& e, int i) {
  return e.out().node(kOp, e.node(i).name, {e.arg(i)});
}
constexpr const char *kRelu = "Relu", *kSigmoid = "Sigmoid", *kTanh = "Tanh", *kExp = "Exp",
                     *kLog = "Log", *kSqrt = "Sqrt", *kAbs = "Abs", *kIdentity = "Identity";

std::string clip(Exporter& e, int i, float lo, float hi) {
  const std::string& name = e.node(i).name;
  return e.out().node(
      "Clip", name,
      {e.arg(i), e.out().constant(name + ".lo", lo), e.out().constant(name + ".hi", hi)});
}
/// Runtimes drop a Relu in front of a quantizer, and not always a Clip.
std::string relu6(Exporter& e, int i) {
  return e.is_clipped(i) ? same<kRelu>(e, i) : clip(e, i, 0, 6);
}
std::string clamp(Exporter& e, int i) {
  return clip(e, i, e.node(i).get<float>("lo"), e.node(i).get<float>("hi"));
}

std::string leaky_relu(Exporter& e, int i) {
  return e.out().node("LeakyRelu", e.node(i).name, {e.arg(i)},
                      {{"alpha", e.node(i).get<float>("slope")}});
}

/// x relu6(x + 3) / 6
std::string hard_swish(Exporter& e, int i) {
  const std::string& name = e.node(i).name;
  if (e.options().opset >= 14) return e.out().node("HardSwish", name, {e.arg(i)});
  const std::string gate = e.out().node("HardSigmoid", name + ".gate", {e.arg(i)},
                                        {{"alpha", 1.0f / 6.0f}, {"beta", 0.5f}});
  return e.out().node("Mul", name, {e.arg(i), gate});
}

std::string silu(Exporter& e, int i) {
  const std::string& name = e.node(i).name;
  const std::string gate = e.out().node("Sigmoid", name + ".gate", {e.arg(i)});
  return e.out().node("Mul", name, {e.arg(i), gate});
}

/// x (1 + erf(x / sqrt(2))) / 2
std::string gelu(Exporter& e, int i) {
  GraphWriter& out = e.out();
  const std::string& name = e.node(i).name;
  const std::string scaled =
      out.node("Mul", name + ".scaled", {e.arg(i), out.constant(name + ".sqrt_half", 0.70710678f)});
  const std::string erf = out.node("Erf", name + ".erf", {scaled});
  const std::string gate =
      out.node("Add", name + ".gate", {erf, out.constant(name + ".one", 1.0f)});
  const std::string twice = out.node("Mul", name + ".twice", {e.arg(i), gate});
  return out.node("Mul", name, {twice, out.constant(name + ".half", 0.5f)});
}

std::string square(Exporter& e, int i) {
  return e.out().node("Mul", e.node(i).name, {e.arg(i), e.arg(i)});
}

std::string sign(Exporter& e, int i) { return e.plus_or_minus(i); }

std::string round(Exporter& e, int i) {
  if (std::string(e.node(i).get<const char*>("rounding")) != "half_even") {
    e.refuse(i, "ONNX rounds halves to even only");
  }
  return e.out().node("Round", e.node(i).name, {e.arg(i)});
}

/// An operand as the other one's shape asks for it: sizes are matched from the back, and the
/// channels of an image are not at the back of a file's.
std::string operand(Exporter& e, int i, size_t position) {
  const int from = e.input(i, position);
  const Shape &shape = e.node(from).shape, &result = e.node(i).shape;
  if (result.dims() != 4) return e.in_memory_order(from);
  if (shape.dims() == 4) return e.value(from);
  if (!e.is_static(from)) e.refuse(i, "its operands have different numbers of dimensions");
  Ints dims(static_cast<size_t>(4 - shape.dims()), 1);
  dims.insert(dims.end(), shape.begin(), shape.end());
  const Tensor image = nhwc_to_nchw(e.tensor(from).view(Shape(dims)));
  return e.out().constant(e.node(from).name, image);
}

std::string arithmetic(Exporter& e, int i, const char* op) {
  const Graph::Node& n = e.node(i);
  std::vector<std::string> inputs;
  if (const Attribute* numerator = n.find("numerator")) {
    inputs = {e.out().constant(n.name + ".numerator", std::get<float>(numerator->value)), e.arg(i)};
  } else if (const Attribute* value = n.find("value")) {
    inputs = {e.arg(i), e.out().constant(n.name + ".value", std::get<float>(value->value))};
    return e.out().node(op, n.name, inputs);
  } else {
    inputs = {operand(e, i, 0), operand(e, i, 1)};
  }
  const std::string y = e.out().node(op, n.name, inputs);
  return y;
}
std::string add(Exporter& e, int i) { return arithmetic(e, i, "Add"); }
std::string sub(Exporter& e, int i) { return arithmetic(e, i, "Sub"); }
std::string mul(Exporter& e, int i) { return arithmetic(e, i, "Mul"); }
std::string div(Exporter& e, int i) { return arithmetic(e, i, "Div"); }

std::string reduce(Exporter& e, const std::string& name, const std::string& op,
                   const std::string& x, const Ints& axes, bool keep) {
  const int axes_are_input_from = op == "ReduceSum" ? 13 : 18;
  std::vector<std::string> inputs = {x};
  std::vector<NodeAttribute> attributes = {{"keepdims", int64_t{keep}}};
  if (e.options().opset >= axes_are_input_from) {
    inputs.push_back(e.out().constant(name + ".axes", axes));
  } else {
    attributes.push_back({"axes", axes});
  }
  return e.out().node(op, name, inputs, attributes);
}

/// Sums over axes; the whole image at once has an operator of its own.
std::string reduced(Exporter& e, int i, const std::string& op) {
  const Graph::Node& n = e.node(i);
  const int from = e.input(i, 0);
  const Shape& shape = e.node(from).shape;
  const Shape& axes = n.get<Shape>("axes");
  const bool keep = n.get<bool>("keep");
  if (op == "ReduceMean" && keep && shape.dims() == 4 && axes == Shape{1, 2}) {
    return e.out().node("GlobalAveragePool", n.name, {e.value(from)});
  }
  const bool images = shape.dims() == 4 && keep;  // else axes would move: take them as in memory
  Ints which;
  for (int64_t a : axes) which.push_back(images ? file_axis(static_cast<int>(a), 4) : a);
  const std::string x = images ? e.value(from) : e.in_memory_order(from);
  const std::string y = reduce(e, n.name, op, x, which, keep);
  return images ? y : e.in_file_order(y, n.shape);
}
std::string mean(Exporter& e, int i) { return reduced(e, i, "ReduceMean"); }
std::string sum(Exporter& e, int i) { return reduced(e, i, "ReduceSum"); }
std::string max(Exporter& e, int i) { return reduced(e, i, "ReduceMax"); }

/// A convolution of single pixels in groups, all of its weights the same number: images stay
/// images, which a reshape into groups would not, and every runtime and importer knows it.
std::string uniform_conv(Exporter& e, const std::string& name, const std::string& x,
                         const Shape& weight, int64_t groups, float value) {
  const std::string w = e.out().constant(name + ".weight", Tensor::full(weight, value));
  return e.out().node("Conv", name, {x, w}, {{"group", groups}});
}

std::string mean_abs(Exporter& e, int i) {
  const Graph::Node& n = e.node(i);
  const auto groups = n.get<int64_t>("groups");
  const std::string x = e.out().node("Abs", n.name + ".abs", {e.arg(i)});
  if (groups == 1) return reduce(e, n.name, "ReduceMean", x, {1}, true);
  if (n.shape.dims() != 4) e.refuse(i, "groups of what is no image");
  const int64_t each = e.node(e.input(i, 0)).shape.dim(-1) / groups;
  const float share = 1.0f / static_cast<float>(each);
  return uniform_conv(e, n.name, x, {groups, each, 1, 1}, groups, share);
}

std::string scale_rows(Exporter& e, int i) {
  const Graph::Node& n = e.node(i);
  const int64_t groups = e.node(e.input(i, 1)).shape.dim(-1), channels = n.shape.dim(-1);
  std::string k = e.arg(i, 1);
  if (groups > 1) {
    if (n.shape.dims() != 4) e.refuse(i, "groups of what is no image");
    k = uniform_conv(e, n.name + ".scales", k, {channels, 1, 1, 1}, groups, 1);
  }
  return e.out().node("Mul", n.name, {e.arg(i), k});
}

std::string over_last_axis(Exporter& e, int i, const char* op) {
  const Graph::Node& n = e.node(i);
  const int64_t axis = file_axis(n.shape.dims() - 1, n.shape.dims());
  return e.out().node(op, n.name, {e.arg(i)}, {{"axis", axis}});
}
std::string softmax(Exporter& e, int i) { return over_last_axis(e, i, "Softmax"); }
std::string log_softmax(Exporter& e, int i) { return over_last_axis(e, i, "LogSoftmax"); }

std::string matmul(Exporter& e, int i) {
  return e.out().node("MatMul", e.node(i).name, {e.arg(i), e.arg(i, 1)});
}

}  // namespace

const ExportRules& math_rules() {
  static const ExportRules kRules = {{"identity", same<kIdentity>},
                                     {"relu", same<kRelu>},
                                     {"sigmoid", same<kSigmoid>},
                                     {"tanh", same<kTanh>},
                                     {"exp", same<kExp>},
                                     {"log", same<kLog>},
                                     {"sqrt", same<kSqrt>},
                                     {"abs", same<kAbs>},
                                     {"relu6", relu6},
                                     {"clamp", clamp},
                                     {"leaky_relu", leaky_relu},
                                     {"hard_swish", hard_swish},
                                     {"silu", silu},
                                     {"gelu", gelu},
                                     {"square", square},
                                     {"round", round},
                                     {"sign", sign},
                                     {"add", add},
                                     {"sub", sub},
                                     {"mul", mul},
                                     {"div", div},
                                     {"mean", mean},
                                     {"sum", sum},
                                     {"max", max},
                                     {"softmax", softmax},
                                     {"log_softmax", log_softmax},
                                     {"mean_abs", mean_abs},
                                     {"scale_rows", scale_rows},
                                     {"matmul", matmul}};
  return kRules;
}

}  // namespace pare::onnx
