#pragma once
// The shape of a smaller model, before it has weights.

#include "prune/structure.h"

namespace pare::prune {

/// A copy of the model in which every axis that counts channels is as long as what is kept of it;
/// resized tensors are zero. Which units of a group are kept does not matter, only how many.
nn::Layer resized(const nn::Layer& model, const Structure& structure, const Keep& keep);

}  // namespace pare::prune
