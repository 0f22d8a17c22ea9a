#pragma once
// Batch norm that knows about quantized weights: running statistics estimated again with quantizers
// at work, then folded.    Hubara et al. 2020, arXiv:2006.10518, section 4
//
//   m_f, v_f   mean and variance of what the layers compute for a few batches, quantizers off
//   m_q, v_q   the same with quantizers at work
//   m' = m + m_q - m_f,  v' = v v_q / v_f     what was learned in training, moved as far as
//                                             quantization moves it
//   k  = gamma / sqrt(v' + eps)
//   w' = k w,  b' = beta + k (b - m'),  s' = |k| s        so that  quantize(w', s') = k quantize(w,
//   s)
//
// With a zero point z of codes lo..hi, k < 0 makes it lo + hi - z. Without one, codes have one more
// negative value than positive ones: k < 0 moves weights at the very end by one step, unless codes
// are narrow. What stands half-way between two codes may fall to either.

#include <ostream>
#include <string>
#include <vector>

#include "quant/fold_bn.h"

namespace pare::quant {

struct BnTuningOptions {
  /// m' = m_q, v' = v_q, as in the paper. Statistics then forget what they were learned from: more
  /// images, and images that were augmented.
  bool anew = false;
  /// With anew: statistics follow each batch by this much; 0: they are the mean over all batches.
  float momentum = 0;
};

/// How far statistics moved; prints as a table.
struct BnTuningReport {
  struct Row {
    std::string path;
    int64_t channels = 0;
    double mean_shift = 0;  // root mean square over the channels of (m' - m) / sqrt(v)
    double var_ratio = 1;   // geometric mean of v' / v
  };
  std::vector<Row> rows;
};
std::ostream& operator<<(std::ostream& out, const BnTuningReport& report);

/// Estimates every batch norm's statistics again, all of them at once as in training; all else is
/// in eval mode. Nothing is learned.
BnTuningReport tune_bn(nn::Layer& model, const std::vector<Tensor>& batches,
                       const BnTuningOptions& options = {});

/// fold_bn for a model with quantized weights: calibrated scales of filters (uniform, LSQ, LSQ+)
/// are folded along with the weights.
FoldReport fold_bn_with_scales(nn::Layer& model, const Tensor& example);

}  // namespace pare::quant
