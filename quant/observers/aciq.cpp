// ACIQ: the clipping value that is best for a distribution of a given shape, Banner et al. 2019,
// arXiv:1810.05723.
//   laplace  b = mean |x - mean|,                              range +- a_L[bits] b
//   gauss    sigma = (max - min) c / sqrt(2 ln N),             range +- a_G[bits] sigma
//            c = 0.175 (1 + sqrt(pi ln 4)),  N values of the weight or of one sample
// Affine codes of values that are never negative have one bit more to spend: 0 .. a[bits + 1] times
// b or sigma.

#include <cmath>

#include "quant/registry.h"
#include "quant/sketch_observer.h"

namespace pare::quant {

namespace {

constexpr double kPi = 3.14159265358979323846;

/// Of 1 .. 9 bits.
constexpr double kGauss[] = {1.24, 1.71, 2.15, 2.55, 2.93, 3.28, 3.61, 3.92, 4.20};
constexpr double kLaplace[] = {1.86, 2.83, 3.89, 5.03, 6.20, 7.41, 8.64, 9.89, 11.16};
/// Of 3 bits more, as the table for values without a sign prints it.
constexpr double kLaplaceUnsigned3 = 5.02;

bool one_sided(const Interval& seen, const Target& t) {
  return !t.grid.is_signed() && seen.min >= 0;
}

/// The range, given what it is a multiple of.
Interval clipped(double multiple, bool one_side) {
  const float end = static_cast<float>(multiple);
  return {one_side ? 0.0f : -end, end};
}

struct Laplace final : SketchObserver {
  using SketchObserver::SketchObserver;

 private:
  Interval range(const Sketch& sketch, const Target& target) const override {
    const double mean = sketch.mean();
    double deviation = 0;
    for (const Sketch::Item& i : sketch.items()) deviation += i.weight * std::fabs(i.value - mean);
    deviation /= static_cast<double>(sketch.count());
    const bool one_side = one_sided({sketch.min(), sketch.max()}, target);
    const int bits = target.grid.bits;
    const double factor = one_side && bits == 3 ? kLaplaceUnsigned3 : kLaplace[bits - !one_side];
    return clipped(factor * deviation, one_side);
  }
};

struct Gauss final : Observer {
  using Observer::Observer;
  std::vector<Interval> ranges(const Target& target) const override {
    const double c = 0.5 * 0.35 * (1 + std::sqrt(kPi * std::log(4.0)));
    const double spread =
        c / std::sqrt(2 * std::log(static_cast<double>(std::max<int64_t>(n_, 2))));
    std::vector<Interval> all;
    for (const Interval& s : seen_) {
      const bool one_side = one_sided(s, target);
      const double sigma = (double{s.max} - s.min) * spread;
      all.push_back(clipped(kGauss[target.grid.bits - !one_side] * sigma, one_side));
    }
    return all;
  }

 private:
  void add(const Tensor& x, const std::vector<Interval>&) override {
    n_ = setup_.role == Role::weight ? x.numel() : x.numel() / x.dim(0);
  }
  int64_t n_ = 0;
};

std::string refuse(const QuantizerSpec& s) {
  if (s.bits <= 8) return {};
  return str("its table ends at 8 bits, got ", s.bits);
}

}  // namespace

namespace parts {
ObserverInfo aciq() {
  return {.name = "aciq",
          .summary = "the best clipping of a Gauss or Laplace distribution, arXiv:1810.05723",
          .options = {{.name = "distribution",
                       .help = "that aciq assumes",
                       .words = {"gauss", "laplace"},
                       .usual = "gauss"}},
          .refuse = refuse,
          .make = [](const ObserverSetup& s) -> std::shared_ptr<Observer> {
            if (s.options.is("distribution", "laplace")) return std::make_shared<Laplace>(s);
            return std::make_shared<Gauss>(s);
          }};
}
}  // namespace parts

}  // namespace pare::quant
