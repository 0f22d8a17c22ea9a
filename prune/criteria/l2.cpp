// L2 norm of filters:  sqrt(sum w^2) over the filter, the criterion of He et al. 2018 (soft filter
// pruning, arXiv:1808.06866). Where several layers make a channel together, the mean over them.

#include <cmath>

#include "prune/filters.h"

namespace pare::prune::parts {

namespace {

double norm(std::span<const float> filter) {
  double sum = 0;
  for (float w : filter) sum += double{w} * w;
  return std::sqrt(sum);
}

}  // namespace

CriterionInfo l2() {
  return {.name = "l2",
          .summary = "Euclidean norm of the filter's weights",
          .score = [](const Subject& s) { return score_filters(s.structure, norm); }};
}

}  // namespace pare::prune::parts
