#pragma once
// How long a forward pass takes with some of the channels, from what single layers take here.

#include <functional>
#include <vector>

#include "prune/cost.h"

namespace pare::prune {

/// Seconds of `run`, which computes so many multiply-accumulates each time it is called.
using Stopwatch = std::function<double(double macs, const std::function<void()>& run)>;
/// The fastest of several runs.
double fastest_run(double macs, const std::function<void()>& run);

/// A convolution or linear layer of i input and o output channels takes
///   t(i, o) = a + b i + c o + d i o
/// fitted to its times with all and with half of the channels of each side; with groups
///   t(i, o) = a + b i o,  depthwise  t(o) = a + b o
/// fitted to two times. The rest of the pass goes over what layers write, and takes time in
/// proportion to its numbers. Quantizers are not measured.
class LatencyModel {
 public:
  /// `images` [N, H, W, C] is a batch like those that are to be fast.
  LatencyModel(const Structure& structure, nn::Layer& model, const Tensor& images,
               const Stopwatch& stopwatch = fastest_run);
  /// Seconds for the batch.
  double operator()(const Keep& keep) const;

 private:
  struct Layer {
    int node = 0;
    std::vector<int> in = {}, out = {};  // units
    int64_t half_in = 0, half_out = 0;   // channels that were measured besides all
    bool grouped = false, depthwise = false;
    double t[2][2] = {};  // [in][out], 1: all channels
  };
  void measure(Layer& layer, int64_t batch, const Stopwatch& stopwatch) const;
  double seconds(const Layer& layer, double in, double out) const;
  double layers(const Keep& keep) const;

  const Structure& structure_;
  CostModel cost_;
  std::vector<Layer> layers_;
  double rest_ = 0;         // seconds of all but the layers, with all channels
  double activations_ = 1;  // with all channels
};

}  // namespace pare::prune
