#include "models/residual.h"

namespace pare::models {

nn::Layer conv(const ConvBn& c) {
  return nn::Conv2d({.in = c.in,
                     .out = c.out,
                     .kernel = c.kernel,
                     .stride = c.stride,
                     .pad = Hw(c.kernel.h / 2, c.kernel.w / 2),
                     .bias = false});
}

namespace {

nn::Layer batch_norm(int64_t channels, float momentum) {
  return nn::BatchNorm2d(channels, {.momentum = momentum});
}

}  // namespace

nn::Layer projection(int64_t in, int64_t out, int stride, float bn_momentum) {
  return nn::Sequential(
      {conv({.in = in, .out = out, .kernel = 1, .stride = stride}), batch_norm(out, bn_momentum)});
}

BasicBlock::BasicBlock(BlockOptions o)
    : shortcut_name(o.shortcut_name),
      conv1(conv({.in = o.in, .out = o.width, .stride = o.stride})),
      bn1(batch_norm(o.width, o.bn_momentum)),
      act1(nn::ReLU()),
      conv2(conv({.in = o.width, .out = o.width})),
      bn2(batch_norm(o.width, o.bn_momentum)),
      shortcut(std::move(o.shortcut)),
      act2(nn::ReLU()) {}

Tensor BasicBlock::forward(const Tensor& x) {
  const Tensor h = act1(bn1(conv1(x)));
  return act2(bn2(conv2(h)) + shortcut(x));
}

Bottleneck::Bottleneck(BlockOptions o)
    : shortcut_name(o.shortcut_name),
      conv1(conv({.in = o.in, .out = o.width, .kernel = 1})),
      bn1(batch_norm(o.width, o.bn_momentum)),
      act1(nn::ReLU()),
      conv2(conv({.in = o.width, .out = o.width, .stride = o.stride})),
      bn2(batch_norm(o.width, o.bn_momentum)),
      act2(nn::ReLU()),
      conv3(conv({.in = o.width, .out = kExpansion * o.width, .kernel = 1})),
      bn3(batch_norm(kExpansion * o.width, o.bn_momentum)),
      shortcut(std::move(o.shortcut)),
      act3(nn::ReLU()) {}

Tensor Bottleneck::forward(const Tensor& x) {
  Tensor h = act1(bn1(conv1(x)));
  h = act2(bn2(conv2(h)));
  return act3(bn3(conv3(h)) + shortcut(x));
}

PadShortcut::PadShortcut(int64_t in, int64_t out, int stride_)
    : stride(stride_), before((out - in) / 2), after(out - in - before) {
  PARE_CHECK(out >= in, "resnet: shortcut A can only add channels, the widths go from ", in, " to ",
             out, hint("use shortcut B"));
}

Tensor PadShortcut::forward(const Tensor& x) {
  const Tensor y = stride > 1 ? max_pool2d(x, {.kernel = 1, .stride = stride}) : x;
  return before + after > 0 ? pad(y, 3, before, after) : y;
}

std::string PadShortcut::describe() const {
  return str("PadShortcut(stride=", stride, ", channels=", before, "+", after, ")");
}

}  // namespace pare::models
