// The threshold that keeps most information about the distribution of |x| (TensorRT's calibration,
// Migacz 2017). H is a histogram of |x| with 2048 bins, L the number of levels on one side:
//   for i = L .. 2048:  P = H[0..i) with everything above added to its last bin
//                       Q = H[0..i) merged to L levels, each spread evenly over its bins where P
//                           is not empty
//   threshold = (i + 1/2) binwidth for the i with the least KL(P || Q)
// Zeros are left out of H: every grid has them, and behind a ReLU they would be a first bin that no
// level may share, so that the smallest threshold always won.
// The system we replace stores its divergences shifted, and so always picks the same share of the
// largest value.

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/registry.h"
#include "quant/sketch_observer.h"

namespace pare::quant {

namespace {

constexpr int kBins = 2048;

/// KL(P || Q) of the first n bins, both normalized; infinite if a level has nothing to spread where
/// P has something.
double divergence(const std::vector<double>& bins, int n, double above, int levels) {
  const auto q_at = [&](int i) { return bins[static_cast<size_t>(i)]; };
  const auto p_at = [&](int i) { return q_at(i) + (i == n - 1 ? above : 0.0); };
  double q_total = 0, sum = 0;
  for (int i = 0; i < n; ++i) q_total += q_at(i);
  for (int level = 0; level < levels; ++level) {
    // Level l covers bins [l n / L, (l + 1) n / L).
    const int begin = static_cast<int>(int64_t{level} * n / levels);
    const int end = static_cast<int>(int64_t{level + 1} * n / levels);
    double mass = 0;
    int filled = 0;
    for (int i = begin; i < end; ++i) {
      mass += q_at(i);
      filled += p_at(i) > 0;
    }
    if (filled == 0) continue;
    if (mass <= 0) return std::numeric_limits<double>::infinity();
    const double q = mass / filled / q_total;
    for (int i = begin; i < end; ++i) {
      const double p = p_at(i) / (q_total + above);
      if (p > 0) sum += p * std::log(p / q);
    }
  }
  return sum;
}

struct Kl final : SketchObserver {
  using SketchObserver::SketchObserver;

 private:
  Interval range(const Sketch& sketch, const Target& target) const override {
    const double largest = std::max(-double{sketch.min()}, double{sketch.max()});
    if (largest <= 0) return {};
    const double width = largest / kBins;
    std::vector<double> bins(kBins);
    double above = 0;  // beyond the bins that a candidate keeps
    for (const Sketch::Item& i : sketch.items()) {
      if (i.value == 0) continue;
      const int bin = std::min(static_cast<int>(std::fabs(i.value) / width), kBins - 1);
      bins[static_cast<size_t>(bin)] += i.weight;
    }
    const int levels = static_cast<int>(target.grid.hi) + 1;  // on one side of zero
    for (int i = levels; i < kBins; ++i) above += bins[static_cast<size_t>(i)];
    int best = kBins;
    double least = std::numeric_limits<double>::infinity();
    for (int n = levels; n <= kBins; ++n) {
      const double d = divergence(bins, n, above, levels);
      if (d < least) {
        least = d;
        best = n;
      }
      if (n < kBins) above -= bins[static_cast<size_t>(n)];
    }
    const float threshold = static_cast<float>((best + 0.5) * width);
    return {std::max(sketch.min(), -threshold), std::min(sketch.max(), threshold)};
  }
};

std::string refuse(const QuantizerSpec& s) {
  if (s.bits <= 10) return {};
  return str("2048 bins cannot be merged into the levels of ", s.bits, " bits: 10 at most");
}

}  // namespace

namespace parts {
ObserverInfo kl() {
  return {.name = "kl",
          .summary = "the threshold that keeps most information (TensorRT's)",
          .refuse = refuse,
          .make = [](const ObserverSetup& s) { return std::make_shared<Kl>(s); }};
}
}  // namespace parts

}  // namespace pare::quant
