#pragma once
// Learning sparse networks through L0 regularization, Louizos et al. 2018, arXiv:1712.01312.

#include "core/rng.h"
#include "nn/train.h"
#include "prune/gates.h"

namespace pare::prune {

/// A hard concrete gate on each channel. With beta = 2/3, gamma = -0.1, zeta = 1.1:
///   s = sigmoid((log u - log(1 - u) + log_alpha) / beta)    training, u ~ U(0, 1) per channel
///   s = sigmoid(log_alpha)                                  else
///   z = clamp(s (zeta - gamma) + gamma, 0, 1),  y = norm(x) z
/// P(z > 0) = sigmoid(log_alpha - beta log(-gamma / zeta))
struct L0Gate final : Gate {
  /// `filter`: weights that go with a channel.
  L0Gate(nn::Layer batch_norm, int64_t filter);
  Tensor forward(const Tensor& x) override;
  void visit(nn::Visitor& v) override { v("norm", norm)("log_alpha", log_alpha)("rng", rng); }
  std::string describe() const override;
  std::vector<bool> open() const override;
  /// gamma z, beta z
  void merge(nn::Conv2d& conv) override;

  /// z in eval mode.
  Tensor gate() const;
  /// P(z > 0) by channel.
  Tensor alive() const;

  Tensor log_alpha;  // [C]
  Rng rng;
  int64_t filter;
};

/// s times the expected share of weights, of those behind gates, that is not switched off.
nn::Penalty l0_penalty(float s);

}  // namespace pare::prune
