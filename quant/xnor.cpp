#include "quant/xnor.h"

#include <utility>

#include "core/error.h"
#include "core/ops.h"

namespace pare::quant {

XnorConv2d::XnorConv2d(nn::Conv2d layer) : bias(std::exchange(layer.bias, Tensor{})) {
  PARE_CHECK(layer.opt.dilation == Hw(1), "xnor: the scale K is defined for dilation 1");
  layer.opt.bias = false;
  conv = std::move(layer);
}

Tensor XnorConv2d::forward(const Tensor& x) {
  const nn::Conv2dOptions& o = conv.as<nn::Conv2d>()->opt;
  PARE_CHECK(x.dims() == 4 && x.dim(3) == o.in, "xnor: input is ", x.shape(),
             ", expected [N, H, W, ", o.in, "]");
  const Shape grouped{x.dim(0), x.dim(1), x.dim(2), o.groups, o.in / o.groups};
  const Tensor a = mean(reshape(abs(x), grouped), {4});  // [N, H, W, groups]
  const Tensor k = avg_pool2d(a, {.kernel = o.kernel, .stride = o.stride, .pad = o.pad});
  const Shape scales{k.dim(0), k.dim(1), k.dim(2), o.groups, 1};
  const Shape channels{k.dim(0), k.dim(1), k.dim(2), o.groups, o.out / o.groups};
  const Tensor scaled = reshape(conv(x), channels) * reshape(k, scales);
  const Tensor y = reshape(scaled, {k.dim(0), k.dim(1), k.dim(2), o.out});
  return bias ? y + bias : y;
}

XnorLinear::XnorLinear(nn::Linear layer) : bias(std::exchange(layer.bias, Tensor{})) {
  layer.opt.bias = false;
  linear = std::move(layer);
}

Tensor XnorLinear::forward(const Tensor& x) {
  const Tensor y = linear(x) * mean(abs(x), {1}, true);
  return bias ? y + bias : y;
}

}  // namespace pare::quant
