// Group Fisher pruning, Liu et al. 2021, arXiv:2108.00708, normalized by multiply-accumulates:  the
// sum over images of g^2, where g is summed over all layers that read the channel before it is
// squared (prune/saliency.h), divided by the multiply-accumulates that go with the channel.

#include <algorithm>

#include "prune/cost.h"
#include "prune/saliency.h"

namespace pare::prune::parts {

namespace {

Scores fisher_scores(const Subject& s) {
  const Saliency found = saliency(s);
  const std::vector<Cost> costs = CostModel(s.structure).per_unit();
  ScoreMean mean(s.structure);
  for (size_t u = 0; u < found.square.size(); ++u) {
    if (!found.read[u]) continue;
    const int unit = static_cast<int>(u);
    const Cost& saved = costs[static_cast<size_t>(s.structure.group_of(unit))];
    mean.add(unit, found.square[u] / std::max(saved.macs, 1.0));
  }
  return mean.scores("no layer reads it");
}

}  // namespace

CriterionInfo fisher() {
  return {.name = "fisher",
          .summary = "second-order change of the loss for each of the multiply-accumulates saved",
          .needs_images = true,
          .comparable = true,
          .score = fisher_scores};
}

}  // namespace pare::prune::parts
