// Leaves out the outermost values: the share `tail` of the positive ones at the top, the same share
// of the negative ones at the bottom. With n values, p of them >= 0 and m below:
//   max = the k-th smallest, k = n - round(tail p)
//   min = the k-th smallest, k = max(round(tail m), 1)
// A side without values ends at 0.

#include <algorithm>
#include <cmath>

#include "quant/registry.h"
#include "quant/sketch_observer.h"

namespace pare::quant {

namespace {

struct Percentile final : SketchObserver {
  explicit Percentile(const ObserverSetup& setup)
      : SketchObserver(setup), alpha_(setup.options.number("tail")) {}

 private:
  Interval range(const Sketch& sketch, const Target&) const override {
    const std::vector<Sketch::Item> items = sketch.items();
    double negative = 0, all = 0;
    for (const Sketch::Item& i : items) {
      all += i.weight;
      if (i.value < 0) negative += i.weight;
    }
    const double positive = all - negative;
    const auto smallest = [&](double k) {
      double below = 0;
      for (const Sketch::Item& i : items) {
        below += i.weight;
        if (below >= k) return i.value;
      }
      return items.back().value;
    };
    const double low = std::max(std::nearbyint(alpha_ * negative), 1.0);
    return {negative > 0 ? smallest(low) : 0.0f,
            positive > 0 ? smallest(all - std::nearbyint(alpha_ * positive)) : 0.0f};
  }

  double alpha_;
};

}  // namespace

namespace parts {
ObserverInfo percentile() {
  return {.name = "percentile",
          .summary = "without a share of the outermost values, each sign by itself",
          .options = {{.name = "tail",
                       .help = "share of the values that a percentile leaves out",
                       .min = 0,
                       .max = 0.5,
                       .usual = "0.001"}},
          .make = [](const ObserverSetup& s) { return std::make_shared<Percentile>(s); }};
}
}  // namespace parts

}  // namespace pare::quant
