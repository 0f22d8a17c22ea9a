#pragma once
// Weights that share few values, and are trained as such.  Han et al. 2016 (deep compression),
// arXiv:1510.00149, section 3.3

#include <vector>

#include "prune/packed.h"

namespace pare::prune {

/// With W_i = C_k for all weights i of code k, a value's gradient is
///   dL/dC_k = sum_{i of code k} dL/dW_i
/// Every weight of the code gets it, so that whatever an optimizer makes of it, they stay equal.
/// Zeros stay zero.
class SharedWeights {
 public:
  /// Makes the weights of the model shared ones, as pack() would: what pack() then finds is exact.
  SharedWeights(nn::Layer& model, const PackOptions& options);
  /// Between the gradients and the optimizer's step.
  void sum_gradients();

 private:
  struct Shared {
    Tensor weight;
    std::vector<uint32_t> codes;  // by weight: from 1; 0: zero
    size_t values = 0;
  };
  std::vector<Shared> weights_;
};

}  // namespace pare::prune
