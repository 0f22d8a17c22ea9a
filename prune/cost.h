#pragma once
// What a model costs with some of its channels.

#include <cstdint>
#include <vector>

#include "prune/structure.h"

namespace pare::prune {

/// Of one image.
struct Cost {
  double params = 0;
  double macs = 0;         // multiply-accumulates of convolutions and linear layers
  double activations = 0;  // numbers that convolutions and linear layers write
  double bytes = 0;        // parameters and buffers as stored: quantized weights at their bits
  double seconds = 0;      // of a batch, if it was estimated (prune/latency.h)
};
Cost operator-(const Cost& a, const Cost& b);

class CostModel {
 public:
  explicit CostModel(const Structure& structure);
  Cost operator()(const Keep& keep) const;
  /// What goes with one unit of each group, all others staying.
  std::vector<Cost> per_unit() const;

 private:
  /// fixed * product of the kept lengths of axes.
  struct Volume {
    double params = 0, macs = 0, activations = 0, bytes = 0;
    std::vector<size_t> axes = {};
  };
  Cost cost(const std::vector<double>& lengths) const;
  void add_parameters();
  void add_op(int node);

  const Structure& structure_;
  std::vector<std::vector<int>> axes_;  // units by index
  std::vector<double> groups_;          // of the axis
  std::vector<Volume> volumes_;
};

}  // namespace pare::prune
