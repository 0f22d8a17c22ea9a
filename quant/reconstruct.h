#pragma once
// Rounding learned layer by layer, from a few images without labels.    AdaRound, Nagel et al.
// 2020, arXiv:2004.10568

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "nn/module.h"

namespace pare::quant {

/// For each layer with AdaRound weights (quant/adaround.h), in the order in which they compute,
///   min over v   mean over images and pixels of  sum over channels (f(y) - f(y'))^2
///                + lambda sum (1 - |2 h(v) - 1|^beta)
/// y is what the float layer computes from the float model's values, y' what the layer computes
/// with its soft weights; f is the ReLU behind the layer or the identity.
struct ReconstructOptions {
  int64_t iterations = 1000;  // of Adam, for each layer
  int64_t batch = 32;         // images in each
  float lr = 1e-2f;
  float lambda = 0.01f;
  float warmup = 0.2f;                     // share of the iterations without the second term
  float beta_first = 20, beta_last = 2;    // linear in between
  bool quantized_inputs = true;            // y' from what the quantized layers before it compute
  bool relu = true;                        // f is a ReLU where only a ReLU reads the layer
  int64_t max_bytes = int64_t{256} << 20;  // kept of inputs and outputs of the layer at hand;
                                           // images beyond that are not used for it
  uint64_t seed = 1;  // of the choice of images
};

/// What became of each layer; prints as a table.
struct ReconstructReport {
  struct Row {
    std::string path;
    double nearest = 0, learned = 0;  // the first term with weights rounded to nearest, and now
    int64_t weights = 0, moved = 0;   // those that are not rounded to nearest
    int64_t images = 0;               // that were kept
    bool relu = false;
  };
  std::vector<Row> rows;
};
std::ostream& operator<<(std::ostream& out, const ReconstructReport& report);

/// Where a running reconstruction stands.
struct ReconstructMoment {
  std::string path;
  int64_t layer = 0, layers = 0;          // from 1
  int64_t iteration = 0, iterations = 0;  // of this layer: done, in all
  double loss = 0;                        // the first term, of the last batch
};
using ReconstructProgress = std::function<void(const ReconstructMoment&)>;

/// `model` is `original` with quantizers, calibrated, batch norms folded before. Learns the
/// rounding of its AdaRound weights; in eval mode they are then rounded hard. Nothing else changes.
/// Memory: both models run on one of `batches` at a time; beyond that at most max_bytes are kept
/// (of one image, if that takes more).
ReconstructReport reconstruct(nn::Layer& model, nn::Layer& original,
                              const std::vector<Tensor>& batches,
                              const ReconstructOptions& options = {},
                              const ReconstructProgress& progress = {});

}  // namespace pare::quant
