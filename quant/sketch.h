#pragma once
// The distribution of a stream of values in bounded memory: the values themselves while they are
// few, then a histogram.

#include <cstdint>
#include <vector>

namespace pare::quant {

/// Up to `capacity` values are kept as they are. Then they are counted in `bins` bins of equal
/// width over [-2^k, 2^k], 0 always being an edge; when a larger value comes, k grows and
/// neighbouring bins merge. So a value is known to within its bin, of width 2^(k + 1) / bins where
/// 2^k is below twice the largest magnitude. Smallest, largest, number, sum and zeros, of which a
/// ReLU makes many, stay exact.
class Sketch {
 public:
  /// bins: a multiple of 4.
  Sketch(int64_t capacity, int64_t bins) : capacity_(capacity), bins_(bins) {}

  void add(float value);
  int64_t count() const { return count_; }
  double mean() const { return count_ ? sum_ / static_cast<double>(count_) : 0.0; }
  float min() const { return min_; }
  float max() const { return max_; }

  /// A value and how often it was met. A bin stands for its centre, limited to [min, max].
  struct Item {
    float value;
    double weight;
  };
  /// In ascending order.
  std::vector<Item> items() const;

 private:
  void start_counting();
  void count(float value);

  int64_t capacity_, bins_;
  int64_t count_ = 0, zeros_ = 0;  // zeros are in neither of the containers below
  double sum_ = 0;
  float min_ = 0, max_ = 0;
  double limit_ = 0;  // 2^k
  std::vector<float> values_;
  std::vector<int64_t> counts_;  // empty until there are too many values
};

/// Sketches of many groups share this much memory, in values or bins.
Sketch sketch_for(int64_t groups);

}  // namespace pare::quant
