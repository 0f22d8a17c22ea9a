#include "distill/regressor.h"

#include "nn/init.h"
#include "nn/layers.h"

namespace pare::distill {

nn::Layer regressor(const Tensor& student, const Tensor& teacher, int depth, Rng& rng) {
  const bool maps = student.dims() == 4;
  const int64_t out = teacher.dim(-1);
  std::vector<nn::Layer> layers;
  int64_t in = student.dim(-1);
  for (int i = 0; i < depth; ++i, in = out) {
    if (i > 0) layers.emplace_back(nn::ReLU());
    if (maps) {
      layers.emplace_back(nn::Conv2d({.in = in, .out = out, .kernel = 1, .bias = false}));
    } else {
      layers.emplace_back(nn::Linear({.in = in, .out = out, .bias = false}));
    }
  }
  nn::Layer net = nn::Sequential(std::move(layers));
  nn::init(net, rng, {.conv = nn::Scheme::kaiming_uniform});
  return net;
}

}  // namespace pare::distill
