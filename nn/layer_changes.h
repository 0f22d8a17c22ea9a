#pragma once
// How the layers of a model differ from those its name builds: what folding and pruning left of
// them. A checkpoint carries it, so that the model can be built again before its weights are
// loaded.

#include <map>
#include <optional>
#include <string>

#include "nn/module.h"

namespace pare::nn {

/// Of a Conv2d, ConvTranspose2d, Linear, BatchNorm2d or LayerNorm. What is not set is as before.
struct LayerChange {
  bool removed = false;                      // the identity now; also of whole blocks of layers
  std::optional<int64_t> in = {}, out = {};  // channels or features; of a norm: out
  std::optional<int64_t> groups = {};
  std::optional<bool> bias = {};

  bool operator==(const LayerChange&) const = default;
};
using LayerChanges = std::map<std::string, LayerChange>;  // by path

/// What makes `now` of `original`. Layers inside of wrappers that were put around them are found.
LayerChanges layer_changes(Layer& original, Layer& now);
/// Builds the changes in; the weights of changed layers are new and zero.
void apply_changes(Layer& model, const LayerChanges& changes);

}  // namespace pare::nn
