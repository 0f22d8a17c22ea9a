// L1 norm of filters, Li et al. 2017, arXiv:1608.08710:  sum |w| over the filter.
// Where several layers make a channel together, the mean over them.

#include <cmath>

#include "prune/criterion.h"
#include "prune/filters.h"

namespace pare::prune::parts {

namespace {

double norm(std::span<const float> filter) {
  double sum = 0;
  for (float w : filter) sum += std::fabs(w);
  return sum;
}

Scores l1_scores(const Subject& s) {
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

CriterionInfo l1() {
  return {
      .name = "l1", .summary = "sum of the magnitudes of the filter's weights", .score = l1_scores};
}

}  // namespace pare::prune::parts
