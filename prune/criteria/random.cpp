// Channels drawn at random: what every other criterion must beat.

#include "prune/criterion.h"

namespace pare::prune::parts {

namespace {

Scores random_scores(const Subject& s) {
  Scores scores;
  for (int u = 0; u < s.structure.channels.units; ++u) scores.of.push_back(s.rng.uniform());
  return scores;
}

}  // namespace

CriterionInfo random() {
  return {.name = "random",
          .summary = "channels drawn at random, the same for the same seed",
          .comparable = true,
          .score = random_scores};
}

}  // namespace pare::prune::parts
