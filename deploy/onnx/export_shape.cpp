// What moves values and computes nothing.

#include "deploy/onnx/exporter.h"

namespace pare::onnx {

using nn::Graph;

namespace {

using Ints = std::vector<int64_t>;

std::string reshaped(Exporter& e, const std::string& name, const std::string& x, const Ints& dims) {
  return e.out().node("Reshape", name, {x, e.out().constant(name + ".shape", dims)});
}

/// Elements keep their order in memory, which is another one than the file's for images.
std::string reshape(Exporter& e, int i) {
  const Graph::Node& n = e.node(i);
  const int from = e.input(i, 0);
  const Shape& shape = e.node(from).shape;
  const Ints dims = e.reshape_dims({n.shape.begin(), n.shape.end()});
  const bool one_pixel = shape.dims() == 4 && shape[1] == 1 && shape[2] == 1;
  if (one_pixel && n.shape.dims() == 2) return reshaped(e, n.name, e.value(from), dims);
  const std::string y = reshaped(e, n.name, e.in_memory_order(from), dims);
  return e.in_file_order(y, n.shape);
}

std::string flatten(Exporter& e, int i) {
  return e.out().node("Flatten", e.node(i).name, {e.arg(i)}, {{"axis", int64_t{1}}});
}

std::string transpose(Exporter& e, int i) {
  return e.out().node("Transpose", e.node(i).name, {e.arg(i)}, {{"perm", Ints{1, 0}}});
}

std::string permute(Exporter& e, int i) {
  const Graph::Node& n = e.node(i);
  const Shape& order = n.get<Shape>("order");
  const std::string y = e.out().node("Transpose", n.name, {e.in_memory_order(e.input(i, 0))},
                                     {{"perm", Ints(order.begin(), order.end())}});
  return e.in_file_order(y, n.shape);
}

std::string concat(Exporter& e, int i) {
  const Graph::Node& n = e.node(i);
  std::vector<std::string> parts;
  for (size_t k = 0; k < n.inputs.size(); ++k) parts.push_back(e.arg(i, k));
  const int axis = static_cast<int>(n.get<int64_t>("axis"));
  return e.out().node("Concat", n.name, parts, {{"axis", file_axis(axis, n.shape.dims())}});
}

std::string slice(Exporter& e, int i) {
  const Graph::Node& n = e.node(i);
  const int axis = static_cast<int>(n.get<int64_t>("axis"));
  const auto constant = [&](const char* name, int64_t value) {
    return e.out().constant(n.name + name, Ints{value});
  };
  return e.out().node("Slice", n.name,
                      {e.arg(i), constant(".begin", n.get<int64_t>("begin")),
                       constant(".end", n.get<int64_t>("end")),
                       constant(".axis", file_axis(axis, n.shape.dims()))});
}

std::string pad(Exporter& e, int i) {
  const Graph::Node& n = e.node(i);
  const int dims = n.shape.dims();
  const auto axis = static_cast<size_t>(file_axis(static_cast<int>(n.get<int64_t>("axis")), dims));
  Ints pads(2 * static_cast<size_t>(dims), 0);
  pads[axis] = n.get<int64_t>("before");
  pads[static_cast<size_t>(dims) + axis] = n.get<int64_t>("after");
  return e.out().node("Pad", n.name,
                      {e.arg(i), e.out().constant(n.name + ".pads", pads),
                       e.out().constant(n.name + ".value", n.get<float>("value"))});
}

/// [N, C, H, W] -> [N, groups, C / groups, H, W], the two swapped, and back.
std::string channel_shuffle(Exporter& e, int i) {
  const Graph::Node& n = e.node(i);
  const int64_t groups = n.get<int64_t>("groups"), channels = n.shape.dim(-1);
  if (n.shape.dims() != 4) e.refuse(i, "it shuffles what is no image");
  const int64_t h = n.shape[1], w = n.shape[2];
  const std::string apart = reshaped(e, n.name + ".apart", e.arg(i),
                                     e.reshape_dims({n.shape[0], groups, channels / groups, h, w}));
  const std::string swapped =
      e.out().node("Transpose", n.name + ".swapped", {apart}, {{"perm", Ints{0, 2, 1, 3, 4}}});
  return reshaped(e, n.name, swapped, e.reshape_dims({n.shape[0], channels, h, w}));
}

}  // namespace

const ExportRules& shape_rules() {
  static const ExportRules kRules = {{"reshape", reshape},
                                     {"flatten", flatten},
                                     {"transpose", transpose},
                                     {"permute", permute},
                                     {"concat", concat},
                                     {"slice", slice},
                                     {"pad", pad},
                                     {"channel_shuffle", channel_shuffle}};
  return kRules;
}

}  // namespace pare::onnx
