#pragma once
// Ranges from data, what quantizers learn, and freezing both.

#include <vector>

#include "core/batch.h"
#include "nn/optim.h"
#include "quant/quantizer.h"

namespace pare::quant {

/// Whether a model has quantizers whose ranges come from data.
bool wants_calibration(nn::Layer& model);

/// Sets the range of every quantizer that wants one: of weights from the weights, of activations
/// from what the float model computes for these images. In eval mode, nothing is learned.
void calibrate(nn::Layer& model, const std::vector<Tensor>& batches);
/// From the first `images` images of a source's first epoch, as it delivers them.
void calibrate(nn::Layer& model, BatchSource& source, int64_t images);

/// All quantizers below do this from now on.
void set_mode(nn::Layer& model, Quantizer::Mode mode);
/// Ranges stay, steps and clipping levels are not learned any more: fine-tuning after quantization
/// (QAFT).
void freeze_ranges(nn::Layer& model);

struct ParamGroupOptions {
  float weight_decay = 0;
  bool decay_norm_and_bias = true;
  float quant_weight_decay = 0;  // on what quantizers learn; PACT's penalty
  float quant_lr_scale = 1;      // times the learning rate, for them
};
/// nn::param_groups with what quantizers learn in a last group of its own, if they learn anything.
std::vector<nn::ParamGroup> param_groups(nn::Layer& model, const ParamGroupOptions& options);

}  // namespace pare::quant
