// First-order Taylor expansion, Molchanov et al. 2017, arXiv:1611.06440:  how much the loss changes
// if the channel becomes zero, the mean over images of |sum over positions of x dL/dx|, where the
// channel is read.

#include "prune/saliency.h"

namespace pare::prune::parts {

namespace {

Scores taylor_scores(const Subject& s) {
  const Saliency found = saliency(s);
  ScoreMean mean(s.structure);
  for (size_t u = 0; u < found.magnitude.size(); ++u) {
    if (!found.read[u]) continue;
    mean.add(static_cast<int>(u), found.magnitude[u] / static_cast<double>(found.images));
  }
  return mean.scores("no layer reads it");
}

}  // namespace

CriterionInfo taylor() {
  return {.name = "taylor",
          .summary = "first-order change of the loss without the channel",
          .needs_images = true,
          .comparable = true,
          .score = taylor_scores};
}

}  // namespace pare::prune::parts
