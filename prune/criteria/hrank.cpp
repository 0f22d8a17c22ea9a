// HRank, Lin et al. 2020, arXiv:2002.10179:  the mean over images of the rank of the channel's
// feature map [H, W] behind its activation. The rank counts the singular values above
// max(H, W) eps sigma_max, eps that of float32.

#include <Eigen/SVD>
#include <limits>

#include "core/parallel.h"
#include "prune/activations.h"

namespace pare::prune::parts {

namespace {

/// Of one image and channel; `y` [N, H, W, C].
double rank(const Tensor& y, int64_t image, int64_t channel) {
  const int64_t h = y.dim(1), w = y.dim(2), c = y.dim(3);
  Eigen::MatrixXf map(h, w);
  const float* from = y.data() + image * h * w * c + channel;
  for (int64_t i = 0; i < h * w; ++i) map(i / w, i % w) = from[i * c];
  const Eigen::VectorXf sigma = Eigen::JacobiSVD<Eigen::MatrixXf>(map).singularValues();
  const float least =
      sigma(0) * static_cast<float>(std::max(h, w)) * std::numeric_limits<float>::epsilon();
  return static_cast<double>((sigma.array() > least).count());
}

Scores hrank_scores(const Subject& s) {
  ScoreMean mean(s.structure);
  const auto see = [&](const Tensor& y, const std::vector<int>& units) {
    if (y.dims() != 4) return;  // a layer without images, as behind flatten
    const int64_t n = y.dim(0), c = y.dim(3);
    std::vector<double> ranks(static_cast<size_t>(n * c));
    y.data();  // deferred work is done before the threads start
    parallel_for(n * c, 1, [&](Range r) {
      for (int64_t i = r.begin; i < r.end; ++i) {
        ranks[static_cast<size_t>(i)] = rank(y, i / c, i % c);
      }
    });
    for (size_t i = 0; i < ranks.size(); ++i) mean.add(units[i % units.size()], ranks[i]);
  };
  for_each_activation(
      s, {"relu", "relu6", "leaky_relu", "hard_swish", "silu", "gelu", "sigmoid", "tanh"}, see);
  return mean.scores("no feature maps with an activation show it");
}

}  // namespace

CriterionInfo hrank() {
  return {.name = "hrank",
          .summary = "rank of the channel's feature maps",
          .needs_images = true,
          .score = hrank_scores};
}

}  // namespace pare::prune::parts
