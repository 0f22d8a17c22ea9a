#pragma once
// Where quantization hurts: what each quantized layer computes, against the same layer with all
// quantizers off.
//   alone       only this layer is quantized: it reads float values
//   cumulative  all are: it reads what the quantized layers before it computed

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "nn/module.h"

namespace pare::quant {

/// Of values y' where y was wanted, over all images.
struct ValueError {
  double mse = 0;     // mean of (y' - y)^2
  double cosine = 1;  // y . y' / (|y| |y'|); 1 if both are zero
  double sqnr = 0;    // dB: 10 log10(sum y^2 / sum (y' - y)^2); infinite if they are equal
};

/// Prints as a table.
struct Profile {
  struct Row {
    std::string path, layer;    // of the layer, or of the Quantized that holds quantizers
    std::string weight, input;  // what quantizes them; empty: float
    ValueError alone = {}, cumulative = {};
    std::vector<double> metrics = {};  // alone, cumulative; of ProfileOptions::metric
  };
  std::vector<Row> rows;  // in the order in which they compute
};
std::ostream& operator<<(std::ostream& out, const Profile& profile);

struct ProfileOptions {
  /// Anything else of interest, (wanted, got); its mean over the batches is reported.
  std::function<double(const Tensor& wanted, const Tensor& got)> metric = {};
};

/// Runs the model twice on each batch, in eval mode. Memory: the outputs of all quantized layers
/// for one batch. Quantizers that stand for nonlinearities stay on in both runs.
Profile profile(nn::Layer& model, const std::vector<Tensor>& batches,
                const ProfileOptions& options = {});

}  // namespace pare::quant
