#pragma once
// Biases that take back the shift that quantization gives to the mean of each channel.    Nagel et
// al. 2019, arXiv:1906.04721, section 4.2 and appendix D
//
//   b += E[y] - E[y'],  by channel; y of the float layer, y' of the quantized one

#include <ostream>
#include <string>
#include <vector>

#include "nn/module.h"

namespace pare::quant {

/// What became of each layer; prints as a table.
struct BiasReport {
  struct Row {
    std::string path;
    /// Root mean square over the channels of the shift E[y'] - E[y], before correction, and of y'
    /// itself.
    double shift = 0, size = 0;
    bool new_bias = false;  // the layer had none
  };
  std::vector<Row> rows;
};
std::ostream& operator<<(std::ostream& out, const BiasReport& report);

/// Corrects every layer with a quantizer, in the order in which they compute: each sees what the
/// corrected layers before it give. Means are over all images of `batches`. `model` is `original`
/// with quantizers, calibrated. Memory does not grow with the number of batches.
BiasReport correct_bias(nn::Layer& model, nn::Layer& original, const std::vector<Tensor>& batches);

}  // namespace pare::quant
