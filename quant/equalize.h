#pragma once
// Channels of neighbouring layers scaled so that both weights use their range.    Cross-layer
// equalization, Nagel et al. 2019, arXiv:1906.04721, section 4.1
//
//   f(s x) = s f(x) for s > 0, so  w2 f(w1 x + b1) = (w2 S) f(S^-1 w1 x + S^-1 b1)
//   s_i = sqrt(r1_i / r2_i),  r1_i = max |w1| of filter i,  r2_i = max |w2| of what reads channel i
//
// after which both ranges of a channel are sqrt(r1_i r2_i). One scale per tensor then wastes less.

#include <ostream>
#include <string>
#include <vector>

#include "nn/module.h"

namespace pare::quant {

/// What became of each convolution and linear layer; prints as a table.
struct EqualizeReport {
  struct Row {
    std::string first, second = {};  // paths; `second` is empty where nothing was done
    std::string stayed_because = {};
    int64_t channels = 0;
    /// The largest ratio between the two ranges of a channel, dead channels aside: 1 is ideal.
    double before = 1, after = 1;
  };
  std::vector<Row> rows;
  int sweeps = 0;  // over all pairs, until nothing changed any more

  int64_t equalized() const;
};
std::ostream& operator<<(std::ostream& out, const EqualizeReport& report);

/// Equalizes every layer with the next one where that reads nothing else and nothing else reads the
/// first, and where what is in between scales along: relu, leaky_relu, pooling, flatten, shuffles.
/// Depthwise layers are both a second and a first. What the model computes stays the same. Fold
/// batch norms first (quant/fold_bn.h) and put quantizers in later. `example` is an input to trace
/// the model with.
EqualizeReport equalize(nn::Layer& model, const Tensor& example);

}  // namespace pare::quant
