#pragma once
// ResRep: remembering and forgetting in different parts, Ding et al. 2021, arXiv:2007.03260. Behind
// a batch norm stands a compactor, a 1x1 convolution that starts as the identity. Forgetting only
// touches its rows; those that end as zero go, without loss.

#include "prune/cost.h"
#include "prune/gates.h"

namespace pare::prune {

/// y = conv2d(norm(x), weight), weight [C, 1, 1, C]
struct Compactor final : Gate {
  explicit Compactor(nn::Layer batch_norm);
  Tensor forward(const Tensor& x) override;
  void visit(nn::Visitor& v) override {
    v("norm", norm)("compactor", weight).buffer("compactor_mask", mask);
  }
  std::string describe() const override;
  /// Rows that are not forgotten.
  std::vector<bool> open() const override;
  /// W'_i = sum_j K_ij a_j W_j,  b'_i = sum_j K_ij (a_j b_j + c_j);  the batch norm becomes the
  /// identity. a, c: what it does.
  void merge(nn::Conv2d& conv) override;
  /// |K_i|
  std::vector<double> norms() const;

  Tensor weight, mask;  // mask [C]: 1 remembers, 0 forgets
};

struct ResRepOptions {
  double target = 0.5;              // share of the multiply-accumulates to be left
  double lambda = 1e-4;             // strength of forgetting
  double from = 0.05, until = 0.6;  // shares of the run in which rows are chosen
  int64_t min_channels = 1;
};

/// Resets the gradients of compactors while a model trains:
///   dK_i = mask_i dL/dK_i + lambda K_i / |K_i|
class ResRep {
 public:
  /// The structure is that of the model without compactors.
  ResRep(nn::Layer& model, Structure structure, const ResRepOptions& options);
  ResRep(const ResRep&) = delete;
  ResRep& operator=(const ResRep&) = delete;

  /// Between backward and the optimizer's step; `progress`: share of the run that is done. Chooses
  /// the rows with the smallest norms, as many as bring the cost down to
  ///   1 - (1 - target) (progress - from) / (until - from).
  void reset_gradients(double progress);

 private:
  struct Row {
    double norm;
    size_t owner, index;  // compactor, row
  };
  std::vector<Row> forgettable() const;
  double cost_without(const std::vector<Row>& rows, size_t count) const;
  void choose(double progress);

  ResRepOptions options_;
  Structure structure_;
  CostModel cost_;
  double all_;
  std::vector<int> groups_;  // of the compactors
  std::vector<Compactor*> compactors_;
};

}  // namespace pare::prune
