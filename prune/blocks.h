#pragma once
// Whole blocks as units of pruning: a residual block whose shortcut is the identity can be left
// out, and what is around it does not notice.

#include <functional>
#include <string>
#include <vector>

#include "core/batch.h"
#include "nn/module.h"

namespace pare::prune {

/// Paths of modules that have layers with weights, and whose result has the shape and the channels
/// of their input: the smallest such modules, in the order in which they run.
std::vector<std::string> removable_blocks(nn::Layer& model, const Tensor& example);

/// One block that was taken out.
struct RemovedBlock {
  std::string path;
  double loss = 0;  // without it and those before it, on the images
};

struct BlockOptions {
  int64_t count = 1;     // of blocks to remove
  int64_t images = 256;  // to measure the loss on
};
/// Takes out blocks one at a time, each time the one without which cross-entropy is smallest. Their
/// places are empty then. Throws if there are fewer.
std::vector<RemovedBlock> remove_blocks(nn::Layer& model, const Tensor& example,
                                        BatchSource& images, const BlockOptions& options);

}  // namespace pare::prune
