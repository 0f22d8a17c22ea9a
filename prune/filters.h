#pragma once
// The weights that make channels, filter by filter.

#include <functional>
#include <span>
#include <vector>

#include "prune/criterion.h"
#include "prune/structure.h"

namespace pare::prune {

/// One weight and who its filters are.
struct Filters {
  const nn::Channels::Axis* axis;
  Tensor rows;  // [filters, weights of each]; row i makes axis->units[i]
};

/// Of every layer that makes channels; what only transforms of weights hold is left out.
std::vector<Filters> filters(const Structure& structure);

/// A score of each filter by itself; where several layers make a channel, their mean.
Scores score_filters(const Structure& structure,
                     const std::function<double(std::span<const float>)>& score);

}  // namespace pare::prune
