// Convolutions, linear layers, batch norms and pools become layers of nn/.

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "core/ops.h"
#include "deploy/onnx/fixed_quantizer.h"
#include "deploy/onnx/importer.h"
#include "nn/layers.h"

namespace pare::onnx {

namespace {

using Ints = std::vector<int64_t>;

/// How a window moves over an image.
struct Window {
  Hw kernel = 1, stride = 1, dilation = 1;
  int top = 0, left = 0, bottom = 0, right = 0;
  std::string automatic = {};  // SAME_UPPER or SAME_LOWER: padding depends on the image

  /// Layers pad so, by no more than half of the kernel where they pool.
  bool even() const { return automatic.empty() && top == bottom && left == right; }
  bool fits_pool() const { return even() && 2 * top <= kernel.h && 2 * left <= kernel.w; }
};

Hw pair_of(const Importer& in, const NodeProto& n, const Ints& values) {
  if (values.size() != 2) in.refuse(n, str("it works on ", values.size(), " dimensions, not on 2"));
  return {static_cast<int>(values[0]), static_cast<int>(values[1])};
}

Window window_of(const Importer& in, const NodeProto& n, const Ints& kernel) {
  Window w;
  w.kernel = pair_of(in, n, numbers(n, "kernel_shape", kernel));
  w.stride = pair_of(in, n, numbers(n, "strides", {1, 1}));
  w.dilation = pair_of(in, n, numbers(n, "dilations", {1, 1}));
  const Ints pads = numbers(n, "pads", {0, 0, 0, 0});
  if (pads.size() != 4) in.refuse(n, "its padding is not that of 2 dimensions");
  w.top = static_cast<int>(pads[0]), w.left = static_cast<int>(pads[1]);
  w.bottom = static_cast<int>(pads[2]), w.right = static_cast<int>(pads[3]);
  const std::string automatic = word(n, "auto_pad", "NOTSET");
  if (automatic.starts_with("SAME")) w.automatic = automatic;
  return w;
}

/// Padding of one axis, so that there are ceil(size / stride) windows.
std::pair<int64_t, int64_t> same_padding(int64_t size, int kernel, int stride, int dilation,
                                         bool more_in_front) {
  const int64_t windows = (size + stride - 1) / stride;
  const int64_t span = int64_t{dilation} * (kernel - 1) + 1;
  const int64_t all = std::max<int64_t>((windows - 1) * stride + span - size, 0), half = all / 2;
  return more_in_front ? std::pair{all - half, half} : std::pair{half, all - half};
}

Tensor padded(const Tensor& x, const Window& w, float with) {
  std::pair<int64_t, int64_t> rows{w.top, w.bottom}, columns{w.left, w.right};
  if (!w.automatic.empty()) {
    const bool lower = w.automatic == "SAME_LOWER";
    rows = same_padding(x.dim(1), w.kernel.h, w.stride.h, w.dilation.h, lower);
    columns = same_padding(x.dim(2), w.kernel.w, w.stride.w, w.dilation.w, lower);
  }
  Tensor y = x;
  if (rows.first + rows.second > 0) y = pad(y, 1, rows.first, rows.second, with);
  if (columns.first + columns.second > 0) y = pad(y, 2, columns.first, columns.second, with);
  return y;
}

/// A step of its own for padding that layers do not have; what is left for the layer is none.
std::string pad_first(Importer& in, const NodeProto& n, Window& w, float with) {
  const std::string y = in.between(n);
  in.add_function(
      n, [w, with](const std::vector<Tensor>& x) { return padded(x[0], w, with); }, {n.inputs[0]},
      y);
  w.top = w.left = w.bottom = w.right = 0;
  return y;
}

/// For weights that were integers: what keeps them so.
nn::Layer weight_quantizer(const StaticValue& w, int64_t filter_axis) {
  if (!w.codes) return {};
  if (w.codes->share == QuantShare::filter && w.axis != filter_axis) return {};
  return FixedQuantizer(*w.codes);
}

Tensor bias_of(Importer& in, const NodeProto& n, int64_t size) {
  const Tensor b = file_tensor(in.needed(n, 2, "bias").data);
  if (b.numel() != size) in.refuse(n, str("its bias has ", b.numel(), " values for ", size));
  return b.view({size});
}

void conv(Importer& in, const NodeProto& n) {
  const StaticValue& weight = in.needed(n, 1, "weight");
  if (weight.data.dims.size() != 4) in.refuse(n, "its weight has not 4 dimensions");
  const Tensor w = memory_tensor(weight.data);
  Window window = window_of(in, n, {w.dim(1), w.dim(2)});
  const std::string x = window.even() ? n.inputs[0] : pad_first(in, n, window, 0.0f);
  const int64_t groups = integer(n, "group", 1);
  nn::Conv2d layer({.in = w.dim(3) * groups,
                    .out = w.dim(0),
                    .kernel = {static_cast<int>(w.dim(1)), static_cast<int>(w.dim(2))},
                    .stride = window.stride,
                    .pad = {window.top, window.left},
                    .dilation = window.dilation,
                    .groups = static_cast<int>(groups),
                    .bias = in.has(n, 2)});
  layer.weight.copy_(w);
  layer.weight_fn = weight_quantizer(weight, 0);
  if (in.has(n, 2)) layer.bias.copy_(bias_of(in, n, w.dim(0)));
  in.add_layer(n, std::move(layer), x, n.outputs[0]);
}

void conv_transpose(Importer& in, const NodeProto& n) {
  const StaticValue& weight = in.needed(n, 1, "weight");
  if (weight.data.dims.size() != 4) in.refuse(n, "its weight has not 4 dimensions");
  const Tensor w = memory_tensor(weight.data);
  const Window window = window_of(in, n, {w.dim(1), w.dim(2)});
  if (!window.even() || n.find("output_shape"))
    in.refuse(n, "its padding is not the same all round");
  const int64_t groups = integer(n, "group", 1);
  nn::ConvTranspose2d layer({.in = w.dim(0),
                             .out = w.dim(3) * groups,
                             .kernel = {static_cast<int>(w.dim(1)), static_cast<int>(w.dim(2))},
                             .stride = window.stride,
                             .pad = {window.top, window.left},
                             .output_pad = pair_of(in, n, numbers(n, "output_padding", {0, 0})),
                             .dilation = window.dilation,
                             .groups = static_cast<int>(groups),
                             .bias = in.has(n, 2)});
  layer.weight.copy_(w);
  if (in.has(n, 2)) layer.bias.copy_(bias_of(in, n, w.dim(3) * groups));
  in.add_layer(n, std::move(layer));
}

/// x w^T + b; `transposed`: the file has w as [in, out].
void add_linear(Importer& in, const NodeProto& n, const StaticValue& weight, bool transposed,
                const Tensor& bias) {
  const Tensor stored = file_tensor(weight.data);
  const Tensor w = transposed ? transpose(stored) : stored;
  nn::Linear layer({.in = w.dim(1), .out = w.dim(0), .bias = static_cast<bool>(bias)});
  layer.weight.copy_(w);
  layer.weight_fn = weight_quantizer(weight, transposed ? 1 : 0);
  if (bias) layer.bias.copy_(bias);
  in.add_layer(n, std::move(layer));
}

void gemm(Importer& in, const NodeProto& n) {
  const StaticValue& weight = in.needed(n, 1, "weight");
  const float alpha = number(n, "alpha", 1), beta = number(n, "beta", 1);
  const bool transposed = integer(n, "transB", 0) == 0;
  if (weight.data.dims.size() != 2) in.refuse(n, "its weight has not 2 dimensions");
  const int64_t out = weight.data.dims[transposed ? 1 : 0];
  const StaticValue* c = in.has(n, 2) ? &in.needed(n, 2, "bias") : nullptr;
  const bool usual = alpha == 1 && beta == 1 && integer(n, "transA", 0) == 0;
  if (usual && (!c || c->data.numel() == out)) {
    const Tensor bias = c ? file_tensor(c->data).view({out}) : Tensor{};
    return add_linear(in, n, weight, transposed, bias);
  }
  const Tensor w = file_tensor(weight.data), b = transposed ? w : transpose(w);
  const Tensor bias = c ? file_tensor(c->data) : Tensor{};
  const bool turn = integer(n, "transA", 0) != 0;
  in.add_function(n, [=](const std::vector<Tensor>& x) {
    const Tensor y = matmul(turn ? transpose(x[0]) : x[0], b) * alpha;
    return bias ? y + bias * beta : y;
  });
}

void mat_mul(Importer& in, const NodeProto& n) {
  const StaticValue& weight = in.needed(n, 1, "weight");
  if (weight.data.dims.size() != 2) in.refuse(n, "its weight has not 2 dimensions");
  add_linear(in, n, weight, /*transposed=*/true, {});
}

void batch_norm(Importer& in, const NodeProto& n) {
  const bool training =
      in.opset() < 7 ? integer(n, "is_test", 0) == 0 : integer(n, "training_mode", 0);
  if (training) in.refuse(n, "it takes the statistics of the batch");
  const Tensor gamma = file_tensor(in.needed(n, 1, "scale").data);
  nn::BatchNorm2d layer(gamma.numel(), {.eps = number(n, "epsilon", 1e-5f)});
  layer.weight.copy_(gamma);
  layer.bias.copy_(file_tensor(in.needed(n, 2, "bias").data));
  layer.running_mean.copy_(file_tensor(in.needed(n, 3, "mean").data));
  layer.running_var.copy_(file_tensor(in.needed(n, 4, "variance").data));
  in.add_layer(n, std::move(layer));
}

PoolOptions pool_options(const NodeProto& n, const Window& w) {
  return {.kernel = w.kernel,
          .stride = w.stride,
          .pad = {w.top, w.left},
          .ceil_mode = integer(n, "ceil_mode", 0) != 0,
          .count_include_pad = integer(n, "count_include_pad", 0) != 0};
}

void max_pool(Importer& in, const NodeProto& n) {
  Window w = window_of(in, n, {});
  if (w.dilation != Hw(1)) in.refuse(n, "its window has holes (dilations)");
  const std::string x =
      w.fits_pool() ? n.inputs[0] : pad_first(in, n, w, -std::numeric_limits<float>::infinity());
  in.add_layer(n, nn::MaxPool2d(pool_options(n, w)), x, n.outputs[0]);
}

void average_pool(Importer& in, const NodeProto& n) {
  Window w = window_of(in, n, {});
  if (w.dilation != Hw(1)) in.refuse(n, "its window has holes (dilations)");
  PoolOptions o = pool_options(n, w);
  if (w.fits_pool()) return in.add_layer(n, nn::AvgPool2d(o));
  const bool counts = o.count_include_pad;
  o.pad = 0;
  in.add_function(n, [w, o, counts](const std::vector<Tensor>& x) {
    const Tensor y = avg_pool2d(padded(x[0], w, 0), o);
    // The share of each window that lies within the image.
    return counts ? y : y / avg_pool2d(padded(Tensor::ones(x[0].shape()), w, 0), o);
  });
}

void global_average_pool(Importer& in, const NodeProto& n) {
  in.add_layer(n, nn::GlobalAvgPool2d());
}

}  // namespace

const ImportRules& import_layer_rules() {
  static const ImportRules kRules = {{"Conv", conv},
                                     {"ConvTranspose", conv_transpose},
                                     {"Gemm", gemm},
                                     {"MatMul", mat_mul},
                                     {"BatchNormalization", batch_norm},
                                     {"MaxPool", max_pool},
                                     {"AveragePool", average_pool},
                                     {"GlobalAveragePool", global_average_pool}};
  return kRules;
}

}  // namespace pare::onnx
