// Filter pruning via geometric median, He et al. 2019, arXiv:1811.00250:  sum over all filters j of
// the layer of |F_i - F_j|_2. The filter with the smallest sum is the nearest to the geometric
// median: what it does the others can do for it. Only filters that see the same channels are
// compared, and the groups of a convolution do not. Where several layers make a channel together,
// the mean over them.

#include <cmath>

#include "core/parallel.h"
#include "prune/criterion.h"
#include "prune/filters.h"

namespace pare::prune::parts {

namespace {

double distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = double{a[i]} - b[i];
    sum += d * d;
  }
  return std::sqrt(sum);
}

/// The sum of the distances of each row to all rows of its block.
std::vector<double> distances(const Tensor& rows, int64_t blocks) {
  const auto count = static_cast<size_t>(rows.dim(0)), length = static_cast<size_t>(rows.dim(1));
  const size_t block = count / static_cast<size_t>(blocks);
  const std::span<const float> values = rows.span();
  std::vector<double> sums(count);
  parallel_for(rows.dim(0), 1, [&](Range r) {
    for (auto i = static_cast<size_t>(r.begin); i < static_cast<size_t>(r.end); ++i) {
      for (size_t j = i / block * block; j < (i / block + 1) * block; ++j) {
        sums[i] += distance(values.subspan(i * length, length), values.subspan(j * length, length));
      }
    }
  });
  return sums;
}

Scores fpgm_scores(const Subject& s) {
  ScoreMean mean(s.structure);
  for (const Filters& f : filters(s.structure)) {
    const nn::Graph::Node& layer = s.structure.graph[f.axis->users.front()];
    const int64_t groups = layer.find("groups") ? layer.get<int64_t>("groups") : 1;
    const std::vector<double> sums = distances(f.rows, groups);
    for (size_t i = 0; i < sums.size(); ++i) mean.add(f.axis->units[i], sums[i]);
  }
  return mean.scores("no filters make its channels");
}

}  // namespace

CriterionInfo fpgm() {
  return {.name = "fpgm",
          .summary = "distance of the filter to the others of its layer",
          .score = fpgm_scores};
}

}  // namespace pare::prune::parts
