#pragma once
// The registry: models by name.

#include <map>
#include <string>
#include <vector>

#include "nn/init.h"
#include "nn/module.h"

namespace pare::models {

/// What can be said about any model from outside. A model refuses options it has no use for.
struct Options {
  int64_t classes = 10;
  Shape image = {32, 32, 3};         // [H, W, C]
  std::vector<int64_t> widths = {};  // empty: the paper's
  std::string order = {};     // NIN block order "cbap", "bacp", "cbpa", "acbp"; empty: the default
  std::string shortcut = {};  // CIFAR ResNet: "A" (pad) or "B" (1x1 conv + BN, the default)
  std::string stem = {};      // ImageNet-style ResNet: "imagenet" (7x7 s2 + pool) or "cifar" (3x3)
  float bn_momentum = 0.1f;
  float dropout = 0.0f;
};

/// An uninitialized model: fill it with init(), or load weights. Unknown names list the known ones.
nn::Layer make(const std::string& name, const Options& options = {});
/// The initialization its authors train it with.
nn::InitOptions init_options(const std::string& name);

struct Info {
  std::string name, summary;  // "resnet20", "CIFAR ResNet, He et al. 2015, 0.27 M parameters"
  Shape image;                // the usual input
};
const std::vector<Info>& list();

}  // namespace pare::models
