#pragma once
// What each layer loses by few bits, one layer at a time: what mixed precision is decided by
// (quant/allocate.h).

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "core/batch.h"
#include "quant/scheme.h"

namespace pare::quant {

struct Sensitivity {
  /// A layer with so many bits, all else float.
  struct Point {
    int bits = 0;
    double loss = 0;   // increase of the mean loss, measured; noise can make it negative
    double noise = 0;  // weights: sum (w' - w)^2
    int64_t size = 0;  // weights: bits stored, scales included
  };
  struct Layer {
    std::string path;
    int64_t weights = 0, macs = 0;  // macs: of one image
    double trace = 0;  // of the Hessian of the loss by the weights; 0 if it was left out
    std::vector<Point> weight = {}, input = {};  // ascending bits; empty: float in the scheme

    /// The increase of the loss that the curvature foretells: trace / weights noise / 2. HAWQ-V2,
    /// Dong et al. 2020, arXiv:1911.03852
    double foretold(const Point& p) const {
      return trace / static_cast<double>(weights) * p.noise / 2;
    }
  };
  std::string scheme = {};    // which quantizers, as text; its bits are those that were not tried
  double loss = 0, top1 = 0;  // of the float model
  int64_t images = 0, probes = 0;
  /// Of all that the scheme leaves float, and of biases and batch norms.
  int64_t other_size = 0, other_macs = 0;  // bits
  std::vector<Layer> layers = {};          // those that the scheme quantizes, in visiting order
};
std::ostream& operator<<(std::ostream& out, const Sensitivity& sensitivity);

struct SensitivityOptions {
  std::vector<int> bits = {2, 3, 4, 8};
  int64_t probes = 8;  // of the trace; 0: it is left out
  uint64_t seed = 1;   // of the probes
};

struct SensitivityMoment {
  std::string what;             // "layer1.0.conv1, 4 bit weights"
  int64_t done = 0, steps = 0;  // passes over the images; a probe counts as one
};
using SensitivityProgress = std::function<void(const SensitivityMoment&)>;

/// Measures every layer of a float model that the scheme would quantize, with that scheme's
/// quantizers and each number of bits, ranges calibrated on the same images. The model stays as it
/// is.
Sensitivity sensitivity(const nn::Layer& model, const Scheme& scheme,
                        const std::vector<Batch>& batches, const SensitivityOptions& options = {},
                        const SensitivityProgress& progress = {});

/// Trace of the Hessian of the mean cross-entropy by the weights of each layer in `paths`, all else
/// fixed, in eval mode.
///   H_l = mean over images of  J^T (diag(p) - p p^T) J + sum_c (p_c - y_c) d2 z_c,   J = dz / dw_l
/// The second term is zero wherever the logits z are piecewise linear in the weights of one layer:
/// in networks of ReLU and its like. Elsewhere it is left out (Gauss-Newton). Of the first one,
/// with u random signs for every image and B B^T = diag(p) - p p^T,
///   trace = mean over probes of  |sum over images of J^T B u|^2 / images
/// since what two images have in common has mean zero: one backward pass of a batch for all layers.
std::vector<double> hessian_traces(const nn::Layer& model, const std::vector<std::string>& paths,
                                   const std::vector<Batch>& batches, int64_t probes,
                                   uint64_t seed = 1,
                                   const std::function<void(int64_t probe)>& progress = {});

}  // namespace pare::quant
