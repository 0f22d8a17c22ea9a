// Average percentage of zeros, Hu et al. 2016 (network trimming), arXiv:1607.03250:  the share of
// zeros in what ReLU lets through of a channel, over images and positions. The score is the rest,
// the share of numbers that are not zero.

#include "prune/activations.h"

namespace pare::prune::parts {

namespace {

Scores apoz_scores(const Subject& s) {
  const auto units = static_cast<size_t>(s.structure.channels.units);
  std::vector<int64_t> seen(units), alive(units);
  for_each_activation(s, {"relu", "relu6"}, [&](const Tensor& y, const std::vector<int>& of) {
    const std::span<const float> values = y.span();
    for (size_t i = 0; i < values.size(); ++i) {
      const auto unit = static_cast<size_t>(of[i % of.size()]);
      ++seen[unit];
      alive[unit] += values[i] != 0;
    }
  });
  ScoreMean mean(s.structure);
  for (size_t u = 0; u < units; ++u) {
    if (seen[u] == 0) continue;
    mean.add(static_cast<int>(u), static_cast<double>(alive[u]) / static_cast<double>(seen[u]));
  }
  return mean.scores("no ReLU follows it");
}

}  // namespace

CriterionInfo apoz() {
  return {.name = "apoz",
          .summary = "share of the channel's numbers that ReLU does not make zero",
          .needs_images = true,
          .comparable = true,
          .score = apoz_scores};
}

}  // namespace pare::prune::parts
