#pragma once
// What all readers of checkpoint entries share: the layout of weights in files, and one strict
// comparison of what is there with what should be.

#include <map>
#include <string>
#include <vector>

#include "core/safetensors.h"

namespace pare::nn {

/// 4-D weights go to files as OIHW (in memory OHWI), so that PyTorch reads them; the rest as it is.
safetensors::Entry to_entry(const Tensor& t);
Tensor from_entry(const safetensors::Entry& e);
/// The shape that to_entry() gives a tensor of this shape.
std::vector<int64_t> file_shape(const Shape& shape);

using KeyShapes = std::map<std::string, std::vector<int64_t>>;

/// One error for every difference between the keys and shapes that are wanted and those found;
/// at most ten of each kind are spelled out. `what`: "weights.safetensors does not fit the model".
void check_keys(const KeyShapes& wanted, const KeyShapes& found, const std::string& what,
                const std::string& advice);

}  // namespace pare::nn
