// L2 norm of filters:  sqrt(sum w^2) over the filter, the criterion of He et al. 2018 (soft filter
// pruning, arXiv:1808.06866). Where several layers make a channel together, the mean over them.

#include <cmath>

#include "prune/criterion.h"
#include "prune/filters.h"

namespace pare::prune::parts {

namespace {

double norm(std::span<const float> filter) {
  double sum = 0;
  for (float w : filter) sum += double{w} * w;
  return std::sqrt(sum);
}

Scores l2_scores(const Subject& s) {
  ScoreMean mean(s.structure);
  for (const Filters& f : filters(s.structure)) {
    const auto length = static_cast<size_t>(f.rows.dim(1));
    for (size_t i = 0; i < f.axis->units.size(); ++i) {
      mean.add(f.axis->units[i], norm(f.rows.span().subspan(i * length, length)));
    }
  }
  return mean.scores("no filters make its channels");
}

}  // namespace

CriterionInfo l2() {
  return {.name = "l2", .summary = "Euclidean norm of the filter's weights", .score = l2_scores};
}

}  // namespace pare::prune::parts
