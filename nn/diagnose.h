#pragma once
// Where the first NaN or infinity comes from.

#include <string>

#include "core/batch.h"
#include "nn/module.h"

namespace pare::nn {

/// One line for each tensor found not finite, in the order a training step meets them: the batch,
/// the first layer output of a forward run on a copy of the model, the parameters and buffers, the
/// gradients. Empty if all is finite.
std::string find_non_finite(const Layer& model, const Batch& batch);

}  // namespace pare::nn
