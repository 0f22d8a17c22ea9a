// What moves values and computes nothing.

#include <algorithm>

#include "core/error.h"
#include "core/ops.h"
#include "deploy/onnx/importer.h"
#include "nn/layers.h"

namespace pare::onnx {

namespace {

using Ints = std::vector<int64_t>;

/// Sizes as the file counts them.
Ints file_sizes(const Tensor& x) {
  const Shape& s = x.shape();
  if (s.dims() == 4) return {s[0], s[3], s[1], s[2]};
  return {s.begin(), s.end()};
}

/// Elements stay in the file's order, which is not that of images here.
Tensor reshaped(const Tensor& x, const Ints& sizes) {
  if (sizes == file_sizes(x)) return x;
  const Tensor ordered = x.dims() == 4 ? flatten(x) : x;
  if (sizes.size() != 4) return reshape(ordered, Shape(sizes));
  PARE_CHECK(sizes[2] == 1 && sizes[3] == 1, "onnx: reshaping something into images of ", sizes[2],
             "x", sizes[3], " is not supported");
  return reshape(ordered, {sizes[0], 1, 1, sizes[1]});
}

/// 0 is the size of the input's axis, -1 what is left.
Ints resolved(const Ints& wanted, const Tensor& x) {
  const Ints from = file_sizes(x);
  Ints sizes = wanted;
  int64_t known = 1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) {
      PARE_CHECK(i < from.size(), "onnx: size ", i, " is that of an axis the input does not have");
      sizes[i] = from[i];
    }
    if (sizes[i] > 0) known *= sizes[i];
  }
  for (int64_t& s : sizes) {
    if (s == -1 && known > 0) s = x.numel() / known;
  }
  return sizes;
}

/// Reshape to groups, Transpose, Reshape back: a channel shuffle. Its groups, or 0.
int64_t shuffle_at(const Importer& in, const NodeProto& n, const Ints& apart) {
  if (apart.size() != 5) return 0;
  const NodeProto* swap = in.only_reader(n.outputs[0]);
  if (!swap || swap->op != "Transpose" || numbers(*swap, "perm", {}) != Ints{0, 2, 1, 3, 4}) {
    return 0;
  }
  const NodeProto* back = in.only_reader(swap->outputs[0]);
  return back && back->op == "Reshape" && in.constant(*back, 1) ? apart[1] : 0;
}

void reshape_rule(Importer& in, const NodeProto& n) {
  const Ints sizes = in.integers_at(n, 1, "shape");
  if (const int64_t groups = shuffle_at(in, n, sizes); groups > 0) {
    const NodeProto& swap = *in.only_reader(n.outputs[0]);
    const NodeProto& back = *in.only_reader(swap.outputs[0]);
    in.skip(swap);
    in.skip(back);
    return in.add_layer(n, nn::ChannelShuffle(static_cast<int>(groups)), n.inputs[0],
                        back.outputs[0]);
  }
  if (integer(n, "allowzero", 0)) in.refuse(n, "its zeros are sizes (allowzero)");
  in.add_function(
      n, [sizes](const std::vector<Tensor>& x) { return reshaped(x[0], resolved(sizes, x[0])); });
}

void flatten_rule(Importer& in, const NodeProto& n) {
  const int64_t axis = integer(n, "axis", 1);
  if (axis == 1) return in.add_layer(n, nn::Flatten());
  in.add_function(n, [axis](const std::vector<Tensor>& x) {
    const Ints sizes = file_sizes(x[0]);
    const int64_t at = axis < 0 ? axis + static_cast<int64_t>(sizes.size()) : axis;
    int64_t rows = 1;
    for (int64_t i = 0; i < at; ++i) rows *= sizes.at(static_cast<size_t>(i));
    return reshaped(x[0], {rows, x[0].numel() / rows});
  });
}

/// Axes of size 1 go; none named: all of them.
void squeeze(Importer& in, const NodeProto& n) {
  Ints axes = numbers(n, "axes", {});
  if (in.has(n, 1)) axes = in.integers_at(n, 1, "axes");
  in.add_function(n, [axes](const std::vector<Tensor>& x) {
    const Ints from = file_sizes(x[0]);
    Ints to;
    for (size_t i = 0; i < from.size(); ++i) {
      const auto here = [&](int64_t a) {
        return a == static_cast<int64_t>(i) ||
               a + static_cast<int64_t>(from.size()) == static_cast<int64_t>(i);
      };
      const bool goes = axes.empty() ? from[i] == 1 : std::any_of(axes.begin(), axes.end(), here);
      if (!goes) to.push_back(from[i]);
    }
    return reshaped(x[0], to);
  });
}

void transpose_rule(Importer& in, const NodeProto& n) {
  const Ints order = numbers(n, "perm", {});
  const StaticValue* x = in.constant(n, 0);
  const bool matrix = x && x->data.dims.size() == 2 && order.empty();
  if (order != Ints{1, 0} && !matrix) in.refuse(n, "it turns more than a matrix");
  if (x) {
    const Tensor t = transpose(file_tensor(x->data));
    return in.set_constant(n.outputs[0], {floats(n.outputs[0], {t.dim(0), t.dim(1)},
                                                 {t.span().begin(), t.span().end()})});
  }
  in.add_function(n, [](const std::vector<Tensor>& in_values) { return transpose(in_values[0]); });
}

void concat_rule(Importer& in, const NodeProto& n) {
  const int64_t axis = integer(n, "axis", 1);
  std::map<size_t, Tensor> constants;
  std::vector<std::string> values;
  for (size_t k = 0; k < n.inputs.size(); ++k) {
    if (const StaticValue* c = in.constant(n, k)) {
      constants[k] = memory_tensor(c->data);
    } else {
      values.push_back(n.inputs[k]);
    }
  }
  const size_t count = n.inputs.size();
  in.add_function(
      n,
      [axis, constants, count](const std::vector<Tensor>& x) {
        std::vector<Tensor> parts;
        for (size_t k = 0, next = 0; k < count; ++k) {
          const auto it = constants.find(k);
          parts.push_back(it == constants.end() ? x[next++] : it->second);
        }
        return concat(parts, memory_axis(axis, x[0].dims()));
      },
      values, n.outputs[0]);
}

/// Zeros or another constant around some axes.
void pad_rule(Importer& in, const NodeProto& n) {
  if (word(n, "mode", "constant") != "constant") in.refuse(n, "it repeats or mirrors the edge");
  if (in.has(n, 3)) in.refuse(n, "it names its axes");
  const Ints pads = in.has(n, 1) ? in.integers_at(n, 1, "pads") : numbers(n, "pads", {});
  const float with =
      in.has(n, 2) ? float_values(in.needed(n, 2, "value").data).at(0) : number(n, "value", 0);
  if (std::any_of(pads.begin(), pads.end(), [](int64_t p) { return p < 0; })) {
    in.refuse(n, "it cuts (negative padding)");
  }
  in.add_function(n, [pads, with](const std::vector<Tensor>& x) {
    const size_t dims = static_cast<size_t>(x[0].dims());
    PARE_CHECK(pads.size() == 2 * dims, "onnx: ", pads.size(), " paddings for ", dims,
               " dimensions");
    Tensor y = x[0];
    for (size_t i = 0; i < dims; ++i) {
      if (pads[i] + pads[dims + i] == 0) continue;
      y = pad(y, memory_axis(static_cast<int64_t>(i), x[0].dims()), pads[i], pads[dims + i], with);
    }
    return y;
  });
}

void slice_rule(Importer& in, const NodeProto& n) {
  const bool inputs = in.opset() >= 10;
  const Ints begins = inputs ? in.integers_at(n, 1, "starts") : numbers(n, "starts", {});
  const Ints ends = inputs ? in.integers_at(n, 2, "ends") : numbers(n, "ends", {});
  Ints axes = numbers(n, "axes", {});
  if (in.has(n, 3)) axes = in.integers_at(n, 3, "axes");
  for (size_t i = axes.size(); i < begins.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (in.has(n, 4)) {
    for (int64_t step : in.integers_at(n, 4, "steps")) {
      if (step != 1) in.refuse(n, str("it takes steps of ", step));
    }
  }
  in.add_function(n, [begins, ends, axes](const std::vector<Tensor>& x) {
    Tensor y = x[0];
    for (size_t i = 0; i < begins.size(); ++i) {
      const int axis = memory_axis(axes[i], y.dims());
      const int64_t size = y.dim(axis);
      const auto within = [size](int64_t v) {
        return std::clamp<int64_t>(v < 0 ? v + size : v, 0, size);
      };
      y = slice(y, axis, within(begins[i]), within(ends[i]));
    }
    return y;
  });
}

void identity(Importer& in, const NodeProto& n) { in.same(n.outputs[0], n.inputs.at(0)); }

/// As networks are used once they are trained: it does nothing.
void dropout_rule(Importer& in, const NodeProto& n) {
  const bool old = in.opset() < 7 && integer(n, "is_test", 0) == 0;
  if (old || (in.has(n, 2) && in.integers_at(n, 2, "training mode").at(0))) {
    in.refuse(n, "it drops values");
  }
  identity(in, n);
}

void constant(Importer& in, const NodeProto& n) {
  const NodeAttribute* value = n.find("value");
  const TensorData* t = value ? std::get_if<TensorData>(&value->value) : nullptr;
  if (!t) in.refuse(n, "its value is no tensor");
  in.set_constant(n.outputs[0], {*t});
}

}  // namespace

const ImportRules& import_shape_rules() {
  static const ImportRules kRules = {{"Reshape", reshape_rule}, {"Flatten", flatten_rule},
                                     {"Squeeze", squeeze},      {"Transpose", transpose_rule},
                                     {"Concat", concat_rule},   {"Pad", pad_rule},
                                     {"Slice", slice_rule},     {"Identity", identity},
                                     {"Dropout", dropout_rule}, {"Constant", constant}};
  return kRules;
}

}  // namespace pare::onnx
