// The range with the least squared error among 80 that shrink both tails together:
//   (min, max) (1 - 0.01 i),  i = 0 .. 79

#include <limits>

#include "core/kernels/fake_quant.h"
#include "quant/registry.h"
#include "quant/sketch_observer.h"

namespace pare::quant {

namespace {

double squared_error(const std::vector<Sketch::Item>& items, const FakeQuant& q) {
  std::vector<float> x, y;
  for (const Sketch::Item& i : items) x.push_back(i.value);
  y.resize(x.size());
  kernels::fake_quant(q, x.data(), y.data(), static_cast<int64_t>(x.size()));
  double total = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double gap = double{y[i]} - x[i];
    total += items[i].weight * gap * gap;
  }
  return total;
}

struct Mse final : SketchObserver {
  using SketchObserver::SketchObserver;

 private:
  Interval range(const Sketch& sketch, const Target& target) const override {
    const std::vector<Sketch::Item> items = sketch.items();
    Interval best;
    double least = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 80; ++i) {
      const float keep = static_cast<float>(1 - 0.01 * i);
      const Interval r{sketch.min() * keep, sketch.max() * keep};
      const ScaleZero p = fit(r, target.grid, target.affine);
      const double error = squared_error(
          items, {.scale = p.scale, .zero = p.zero, .lo = target.grid.lo, .hi = target.grid.hi});
      if (error < least) {
        least = error;
        best = r;
      }
    }
    return best;
  }
};

}  // namespace

namespace parts {
ObserverInfo mse() {
  return {.name = "mse",
          .summary = "the least squared error, of 80 ranges that shrink from both ends",
          .make = [](const ObserverSetup& s) { return std::make_shared<Mse>(s); }};
}
}  // namespace parts

}  // namespace pare::quant
