// Network slimming, Liu et al. 2017, arXiv:1708.06519:  |gamma| of the channel's batch norm.
// Trained with the L1 penalty of prune/penalty.h, the channels that do not matter have gamma = 0.

#include <cmath>

#include "prune/criterion.h"

namespace pare::prune::parts {

namespace {

Scores slimming_scores(const Subject& s) {
  const nn::Graph& g = s.structure.graph;
  ScoreMean mean(s.structure);
  for (const nn::Channels::Axis& a : s.structure.channels.axes) {
    const nn::Graph::Node& user = g[a.users.front()];
    if (user.op != "batch_norm" || g.input_of(a.users.front(), 1) != a.tensor) continue;
    const std::span<const float> gamma = g[a.tensor].tensor.span();
    for (size_t i = 0; i < a.units.size(); ++i) mean.add(a.units[i], std::fabs(gamma[i]));
  }
  return mean.scores("it has no batch norm with a scale");
}

}  // namespace

CriterionInfo slimming() {
  return {.name = "slimming",
          .summary = "scale of batch norm, best after training with its L1 norm as penalty",
          .comparable = true,
          .score = slimming_scores};
}

}  // namespace pare::prune::parts
