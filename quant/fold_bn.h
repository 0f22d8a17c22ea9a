#pragma once
// Folding batch norm into the convolution or linear layer in front of it, as a rewrite of a trained
// model. In eval mode
//   bn(y) = a y + c,   a = gamma / sqrt(var + eps),   c = beta - a mean,   y = w x + b
//
//   scale   w' = a w,  b' = a b + c                         bn(y) itself
//   sign    w' = s w,  b' = s b + c / |a|,  s = sign(a)     bn(y) / |a|
//           a = 0:  w' = 0,  b' = beta, or 1 for beta = 0   any number of the sign of bn(y)
//
// The second form is for what only the signs of bn(y) are taken of (binary activations, behind a
// pool or not): the magnitudes of the weights stay, which binary weights could not change.
// Courbariaux et al. 2016, arXiv:1602.02830, section 1.3, fold it into a threshold in the same way.

#include <ostream>
#include <string>
#include <vector>

#include "nn/module.h"

namespace pare::quant {

enum class FoldRule { scale, sign };

/// What became of each batch norm; prints as a table.
struct FoldReport {
  struct Row {
    std::string norm, into = {};  // paths; `into` is empty where it stayed
    FoldRule rule = FoldRule::scale;
    std::string stayed_because = {};
    int64_t channels = 0, negated = 0, constant = 0;  // by the sign rule: a < 0, a = 0

    bool folded() const { return !into.empty(); }
  };
  std::vector<Row> rows;

  int64_t folded() const;
};
std::ostream& operator<<(std::ostream& out, const FoldReport& report);

/// Folds every batch norm that it can; what it computes in eval mode stays the same. `example` is
/// an input to trace the model with. A batch norm stays where the layer in front of it has other
/// readers, is used twice, or has a weight quantizer that does not scale along with its weight. The
/// place of a folded one is empty, and its layer has a bias.
FoldReport fold_bn(nn::Layer& model, const Tensor& example);

}  // namespace pare::quant
