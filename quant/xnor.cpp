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
  const Tensor a = mean_abs(x, o.groups);  // [N, H, W, groups]
  const Tensor k = avg_pool2d(a, {.kernel = o.kernel, .stride = o.stride, .pad = o.pad});
  const Tensor y = scale_rows(conv(x), k);
  return bias ? y + bias : y;
}

XnorLinear::XnorLinear(nn::Linear layer) : bias(std::exchange(layer.bias, Tensor{})) {
  layer.opt.bias = false;
  linear = std::move(layer);
}

Tensor XnorLinear::forward(const Tensor& x) {
  const Tensor k = mean_abs(x);  // [N, 1]
  const Tensor y = scale_rows(linear(x), k);
  return bias ? y + bias : y;
}

}  // namespace pare::quant
