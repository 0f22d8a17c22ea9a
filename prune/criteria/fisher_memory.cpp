// Group Fisher pruning, Liu et al. 2021, arXiv:2108.00708, normalized by activations:  the sum
// over images of g^2, where g is summed over all layers that read the channel before it is squared
// (prune/saliency.h), divided by the activations that go with the channel.

#include "prune/saliency.h"

namespace pare::prune::parts {

CriterionInfo fisher_memory() {
  return {.name = "fisher_memory",
          .summary = "second-order change of the loss for each of the activations saved",
          .needs_images = true,
          .comparable = true,
          .score = [](const Subject& s) { return square_per(s, &Cost::activations); }};
}

}  // namespace pare::prune::parts
