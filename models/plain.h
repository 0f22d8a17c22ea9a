#pragma once
// What networks without branches are made of. Private to models.

#include <vector>

#include "nn/layers.h"

namespace pare::models {

/// Convolution, batch norm, ReLU.
inline void append_conv(std::vector<nn::Layer>& layers, const nn::Conv2dOptions& conv,
                        float bn_momentum) {
  layers.push_back(nn::Conv2d(conv));
  layers.push_back(nn::BatchNorm2d(conv.out, {.momentum = bn_momentum}));
  layers.push_back(nn::ReLU());
}

/// AlexNet's overlapping pool.
inline nn::Layer pool_3_of_2() { return nn::MaxPool2d({.kernel = 3, .stride = 2}); }

}  // namespace pare::models
