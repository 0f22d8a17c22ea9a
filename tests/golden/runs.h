#pragma once
// Training runs of the nets that golden trajectories were recorded from, as they are or perturbed.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/golden/golden.h"
#include "quant/scheme.h"

namespace pare::golden {

using State = std::map<std::string, Tensor>;

struct Run {
  std::vector<double> losses;
  State state;
};

/// "nin_W2A32" -> wbab:W2A32, "nin_dorefa_w4a4" -> wqaq:W4A4, "nin_fp32_sgd" -> float
quant::Scheme scheme_of(const Golden& g);
/// The parameters and buffers below `prefix`.
State stored_state(const Golden& g, const std::string& prefix);
/// All steps from init.*. Seed 0 leaves everything as it is; any other adds random errors of the
/// size of float32 rounding to the outputs of batch norms and to gradients.
Run train(const Golden& g, const quant::Scheme& scheme, uint64_t seed);
/// Of x[0], in eval mode, from final.*.
Tensor eval_logits(const Golden& g, const quant::Scheme& scheme, uint64_t seed);

}  // namespace pare::golden
