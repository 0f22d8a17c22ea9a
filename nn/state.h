#pragma once
// State dicts: parameters and buffers under their dotted paths, strict both ways.

#include <map>
#include <string>

#include "core/safetensors.h"
#include "nn/module.h"

namespace pare::nn {

/// Parameters and buffers, sharing the model's values, in the library's own layout (conv weights
/// OHWI).
std::map<std::string, Tensor> state_dict(const Layer& model);
/// Copies values in. One error lists every missing, unexpected and mis-shaped key; nothing is
/// changed then.
void load_state_dict(Layer& model, const std::map<std::string, Tensor>& state);

/// The same as a file: 4-D weights are stored OIHW under the names PyTorch uses, so both sides read
/// each other. Keys that PyTorch adds and we do not keep ("num_batches_tracked") are ignored, as is
/// a "module." prefix.
void save_weights(const std::string& path, const Layer& model,
                  const std::map<std::string, std::string>& metadata = {});
void load_weights(const std::string& path, Layer& model);

/// In memory, for checkpoints that hold more than weights: entries "prefix + name".
void put_weights(safetensors::File& file, const Layer& model, const std::string& prefix = {});
/// `source` names the file in errors. With a prefix only the entries below it are looked at.
void get_weights(const safetensors::File& file, Layer& model, const std::string& source,
                 const std::string& prefix = {});

}  // namespace pare::nn
