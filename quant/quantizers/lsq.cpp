// Learned Step Size Quantization.    Esser et al., ICLR 2020, arXiv:1902.08153
//   y  = s clamp(round(v / s), lo, hi)
//   dv = dy inside the range, else 0
//   ds = g sum dy (round(v / s) - v / s inside | lo below | hi above),   g = 1 / sqrt(N hi)
// N is the number of values that share s, over the whole batch. s starts at 2 mean |v| / sqrt(hi),
// or where another observer says: with 2 bits `mse` is far better for activations. Weights of 2
// bits with codes=narrow are ternary ones whose threshold, s / 2, and scale are learned together.

#include <cmath>

#include "quant/grid_quantizer.h"

namespace pare::quant {

namespace {

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
  void set_ranges(const Observer& observer) override {
    const std::vector<Interval> ranges = observer.ranges({grid(), false});
    for (int64_t g = 0; g < groups; ++g) {
      step.data()[g] = fit(ranges[static_cast<size_t>(g)], grid(), false).scale;
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
  std::vector<Option> all = {
      coding_option(
          weight ? Words{"symmetric"} : Words{"auto", "unsigned", "symmetric"},
          weight ? std::map<std::string, std::string>{{"affine", "LSQ learns no zero point"},
                                                      {"unsigned", "weights have both signs"},
                                                      {"auto", "weights have both signs"}}
                 : refused),
      per_option({"tensor", "channel"}), rounding_option(), observer_option("magnitude")};
  if (weight) all.insert(all.begin() + 2, codes_option());
  return all;
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
