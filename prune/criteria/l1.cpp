// L1 norm of filters, Li et al. 2017, arXiv:1608.08710:  sum |w| over the filter.
// Where several layers make a channel together, the mean over them.

#include <cmath>

#include "prune/filters.h"

namespace pare::prune::parts {

namespace {

double norm(std::span<const float> filter) {
  double sum = 0;
  for (float w : filter) sum += std::fabs(w);
  return sum;
}

}  // namespace

CriterionInfo l1() {
  return {.name = "l1",
          .summary = "sum of the magnitudes of the filter's weights",
          .score = [](const Subject& s) { return score_filters(s.structure, norm); }};
}

}  // namespace pare::prune::parts
