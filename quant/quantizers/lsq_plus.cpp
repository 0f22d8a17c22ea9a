// LSQ+: a learned step and a learned zero point.    Bhalgat et al. 2020, arXiv:2004.09576
//   z' = round(clamp(z, lo, hi)),   y = s (clamp(round(x / s) + z', lo, hi) - z')
//   dx = dy inside the range, else 0
//   ds = g sum dy (round(x / s) - x / s inside | lo - z' below | hi - z' above)
//   dz = g (-s) sum_outside dy,   g = 1 / sqrt(N hi)
// The paper adds a float offset outside of the rounding; a zero point in codes keeps zero on the
// grid, as integer kernels need it. Weights are symmetric, with a step per filter, and start at
//   s = 2 max(|mean - 3 sigma|, |mean + 3 sigma|) / (hi - lo)
// Activations start where an observer says.

#include <algorithm>
#include <cmath>

#include "quant/grid_quantizer.h"

namespace pare::quant {

namespace {

/// mean - 3 sigma .. mean + 3 sigma of each group, sigma unbiased.
struct ThreeSigma final : Observer {
  explicit ThreeSigma(const ObserverSetup& setup)
      : Observer(setup), groups_(static_cast<size_t>(setup.groups)) {}
  std::vector<Interval> ranges(const Target&) const override {
    std::vector<Interval> all;
    for (const Moments& m : groups_) {
      const double sigma = m.n > 1 ? std::sqrt(m.squares / (m.n - 1)) : 0.0;
      all.push_back(
          {static_cast<float>(m.mean - 3 * sigma), static_cast<float>(m.mean + 3 * sigma)});
    }
    return all;
  }

 private:
  struct Moments {
    double n = 0, mean = 0, squares = 0;  // Welford's
  };
  void add(const Tensor& x, const std::vector<Interval>&) override {
    for_each_value(x, [this](size_t g, float v) {
      Moments& m = groups_[g];
      const double delta = double{v} - m.mean;
      m.mean += delta / ++m.n;
      m.squares += delta * (double{v} - m.mean);
    });
  }
  std::vector<Moments> groups_;
};

struct LsqPlus final : GridQuantizer {
  LsqPlus(const QuantizerSpec& spec, const Site& site)
      : GridQuantizer(spec, site), step(Tensor::ones({groups}).requires_grad_()) {
    if (affine()) zero = Tensor::zeros({groups}).requires_grad_();
  }
  void visit(nn::Visitor& v) override {
    v("step", step);
    if (zero) v("zero", zero);
    GridQuantizer::visit(v);
  }
  std::vector<ScaleZero> parameters() const override {
    std::vector<ScaleZero> all;
    for (int64_t g = 0; g < groups; ++g) {
      const float z = zero ? std::clamp(zero.data()[g], grid().lo, grid().hi) : 0.0f;
      all.push_back({std::fabs(step.data()[g]), std::nearbyint(z)});
    }
    return all;
  }

  Tensor step, zero;  // [groups]; zero is empty for weights

 protected:
  std::shared_ptr<Observer> make_observer() const override {
    if (role == Role::activation) return GridQuantizer::make_observer();
    return std::make_shared<ThreeSigma>(setup());
  }
  void set_ranges(const Observer& observer) override {
    const std::vector<Interval> ranges = observer.ranges({grid(), affine()});
    for (int64_t g = 0; g < groups; ++g) {
      const Interval& r = ranges[static_cast<size_t>(g)];
      const ScaleZero p = fit(r, grid(), affine());
      step.data()[g] = p.scale;
      if (zero) zero.data()[g] = p.zero;
    }
  }
  Tensor apply(const Tensor& x) override {
    FakeQuantOptions o = op_options();
    o.grad_scale = 1 / std::sqrt(static_cast<float>(x.numel() / groups) * o.hi);
    return fake_quant(x, step, zero ? clamp(zero, o.lo, o.hi) : zero, o);
  }
};

std::vector<Option> options(Role role) {
  if (role == Role::weight) {
    return {coding_option({"symmetric"}, {{"affine", "weights of LSQ+ have no zero point"},
                                          {"unsigned", "weights have both signs"},
                                          {"auto", "weights have both signs"}}),
            per_option({"channel"}, {{"tensor", "LSQ+ gives each filter its own step"}}),
            rounding_option()};
  }
  return {coding_option({"affine"}, {{"symmetric", "without a zero point LSQ+ is LSQ: say lsq"},
                                     {"unsigned", "without a zero point LSQ+ is LSQ: say lsq"},
                                     {"auto", "without a zero point LSQ+ is LSQ: say lsq"}}),
          per_option({"tensor"}, {{"channel", "LSQ+ learns one step for a whole activation"}}),
          rounding_option(), observer_option("mse")};
}

}  // namespace

namespace parts {
QuantizerInfo lsq_plus() {
  return {.name = "lsq+",
          .summary = "a learned step and zero point, arXiv:2004.09576",
          .options = options,
          .make = [](const QuantizerSpec& s, const Site& site) { return LsqPlus(s, site); }};
}
}  // namespace parts

}  // namespace pare::quant
