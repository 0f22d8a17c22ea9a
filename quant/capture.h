#pragma once
// What a single layer sees and computes while its model runs.

#include <functional>

#include "nn/module.h"

namespace pare::quant {

/// f(input, output) of a layer; the input is what comes before its input_fn. An output that is not
/// looked at is not computed.
using LayerCall = std::function<void(const Tensor& input, const Tensor& output)>;

/// Runs the model on x in eval mode and without a tape, no further than the first call of `layer`.
void run_until(nn::Layer& model, const nn::Module& layer, const Tensor& x, const LayerCall& f);

}  // namespace pare::quant
