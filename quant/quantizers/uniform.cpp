// Uniform quantization with a calibrated scale.    Krishnamoorthi 2018, arXiv:1806.08342
//   y = s (clamp(round(x / s) + z, lo, hi) - z),   dx = dy 1[lo <= round(x / s) + z <= hi]
// s and z come from an observer and stay.

#include "quant/grid_quantizer.h"

namespace pare::quant {

namespace {

struct Uniform final : GridQuantizer {
  Uniform(const QuantizerSpec& spec, const Site& site)
      : GridQuantizer(spec, site), scale(Tensor::ones({groups})) {
    if (affine()) zero = Tensor::zeros({groups});
  }
  void visit(nn::Visitor& v) override {
    v.buffer("scale", scale);
    if (zero) v.buffer("zero", zero);
    GridQuantizer::visit(v);
  }
  std::vector<ScaleZero> parameters() const override {
    std::vector<ScaleZero> all;
    for (int64_t g = 0; g < groups; ++g) {
      all.push_back({scale.data()[g], zero ? zero.data()[g] : 0.0f});
    }
    return all;
  }

  Tensor scale, zero;  // [groups]; zero is empty unless affine

 protected:
  void set_ranges(const Observer& observer) override {
    const std::vector<Interval> ranges = observer.ranges({grid(), affine()});
    for (int64_t g = 0; g < groups; ++g) {
      const ScaleZero p = fit(ranges[static_cast<size_t>(g)], grid(), affine());
      scale.data()[g] = p.scale;
      if (zero) zero.data()[g] = p.zero;
    }
  }
  Tensor apply(const Tensor& x) override { return fake_quant(x, scale, zero, op_options()); }
};

std::vector<Option> options(Role role) {
  const bool weight = role == Role::weight;
  using Words = std::vector<std::string>;
  return {coding_option(weight ? Words{"symmetric", "affine", "unsigned", "auto"}
                               : Words{"affine", "symmetric", "unsigned", "auto"}),
          per_option(weight ? Words{"channel", "tensor"} : Words{"tensor", "channel"}),
          codes_option(), rounding_option(), observer_option("minmax")};
}

}  // namespace

namespace parts {
QuantizerInfo uniform() {
  return {.name = "uniform",
          .summary = "a calibrated scale, arXiv:1806.08342",
          .options = options,
          .refuse = narrow_needs_signs,
          .make = [](const QuantizerSpec& s, const Site& site) { return Uniform(s, site); }};
}
}  // namespace parts

}  // namespace pare::quant
