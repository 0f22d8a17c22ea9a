// Learned Step Size Quantization.    Esser et al., ICLR 2020, arXiv:1902.08153
//   y  = s clamp(round(v / s), lo, hi)
//   dv = dy inside the range, else 0
//   ds = g sum dy (round(v / s) - v / s inside | lo below | hi above),   g = 1 / sqrt(N hi)
// N is the number of values that share s, over the whole batch. s starts at 2 mean |v| / sqrt(hi).

#include <algorithm>
#include <cmath>

#include "quant/grid_quantizer.h"

namespace pare::quant {

namespace {

/// The mean of |x|, which the first step is made of; its range is [-mean, mean].
struct MeanMagnitude final : Observer {
  explicit MeanMagnitude(const ObserverSetup& setup)
      : Observer(setup), sum_(static_cast<size_t>(setup.groups)) {}
  std::vector<Interval> ranges(const Target&) const override {
    std::vector<Interval> all;
    for (double s : sum_) {
      const float mean = static_cast<float>(s / static_cast<double>(count_));
      all.push_back({-mean, mean});
    }
    return all;
  }

 private:
  void add(const Tensor& x, const std::vector<Interval>&) override {
    for_each_value(x, [this](size_t g, float v) { sum_[g] += std::fabs(double{v}); });
    count_ += x.numel() / setup_.groups;
  }
  std::vector<double> sum_;
  int64_t count_ = 0;  // of each group
};

struct Lsq final : GridQuantizer {
  Lsq(const QuantizerSpec& spec, const Site& site)
      : GridQuantizer(spec, site), step(Tensor::ones({groups}).requires_grad_()) {}
  void visit(nn::Visitor& v) override {
    v("step", step);
    GridQuantizer::visit(v);
  }
  std::vector<ScaleZero> parameters() const override {
    std::vector<ScaleZero> all;
    for (float s : step.span()) all.push_back({std::fabs(s), 0});
    return all;
  }

  Tensor step;  // [groups]

 protected:
  std::shared_ptr<Observer> make_observer() const override {
    return std::make_shared<MeanMagnitude>(setup());
  }
  void set_ranges(const Observer& observer) override {
    const std::vector<Interval> means = observer.ranges({grid(), false});
    for (int64_t g = 0; g < groups; ++g) {
      const float mean = means[static_cast<size_t>(g)].max;
      step.data()[g] = std::max(2 * mean / std::sqrt(grid().hi), kSmallestScale);
    }
  }
  Tensor apply(const Tensor& v) override {
    FakeQuantOptions o = op_options();
    o.grad_scale = 1 / std::sqrt(static_cast<float>(v.numel() / groups) * o.hi);
    return fake_quant(v, step, {}, o);
  }
};

std::vector<Option> options(Role role) {
  const bool weight = role == Role::weight;
  const std::map<std::string, std::string> refused = {
      {"affine", "LSQ learns no zero point; lsq+ does"}};
  using Words = std::vector<std::string>;
  return {coding_option(
              weight ? Words{"symmetric"} : Words{"auto", "unsigned", "symmetric"},
              weight ? std::map<std::string, std::string>{{"affine", "LSQ learns no zero point"},
                                                          {"unsigned", "weights have both signs"},
                                                          {"auto", "weights have both signs"}}
                     : refused),
          per_option({"tensor", "channel"}), rounding_option()};
}

}  // namespace

namespace parts {
QuantizerInfo lsq() {
  return {.name = "lsq",
          .summary = "a learned step, arXiv:1902.08153",
          .options = options,
          .make = [](const QuantizerSpec& s, const Site& site) { return Lsq(s, site); }};
}
}  // namespace parts

}  // namespace pare::quant
