#pragma once
// Grouped convolutions and shuffles cut channels into blocks, and each block has a place of its
// own. A cell is what lies in the same blocks of all of them: its units are interchangeable, those
// of two cells are not.

#include <map>
#include <string>
#include <vector>

#include "prune/structure.h"

namespace pare::prune {

/// By unit; equal for interchangeable units, and comparable between a model and a resized one.
std::vector<std::string> cells(const Structure& structure);

/// How many units each cell has in the model of these widths. `keep` says how many units of each
/// group stay; which ones does not matter.
std::map<std::string, int64_t> cell_sizes(const nn::Layer& model, const Tensor& example,
                                          const Structure& structure, const Keep& keep);

/// Constraints on the number of channels of one group, from the blocks they lie in.
struct BlockRule {
  int64_t multiple = 1;  // the number must be one of these
  int64_t least = 1;
  std::string obstacle = {};  // why nothing can be removed; empty: it can
};
/// By group.
std::vector<BlockRule> block_rules(const Structure& structure);

}  // namespace pare::prune
