#pragma once
// Options of training that makes channels or weights small or zero.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/model.h"
#include "nn/train.h"
#include "prune/resrep.h"
#include "prune/sparsity.h"

namespace pare {

struct SparseArgs {
  bool sr = false;
  float s = 1e-4f, group_lasso = 0, sparsity = 0, sparse_until = 0.5f;
  float gate_s = 0.1f, gate_target = 0.5f, gate_lambda = 1e-4f;
  std::string sparse_density = "uniform", sparse_pattern, dense;

  void fields(cli::Fields& f);
  /// `gates`: what the model has.
  void check(const cli::Given& given, const std::string& gates, float ema) const;

  std::vector<nn::Penalty> penalties(const std::string& gates) const;
  bool makes_zeros() const { return sparsity > 0 || !sparse_pattern.empty(); }
};

/// What happens around the optimizer's steps: masks and compactors.
class SparseTraining {
 public:
  /// The model must be ready to train, its weights loaded: zeros that are there stay.
  SparseTraining(const SparseArgs& args, nn::Layer& model, const ModelCard& card);
  void before_step(double progress);
  void after_step(double progress);

 private:
  std::optional<prune::Sparsifier> sparsifier_;
  std::unique_ptr<prune::ResRep> resrep_;
};

}  // namespace pare
