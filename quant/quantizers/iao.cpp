// Integer-arithmetic-only quantization, following its data during training.    Jacob et al. 2018,
// arXiv:1712.05877, in micronet's form: halves away from zero, codes q = round(x / s - z), and a
// gradient only within the observed range.
//   symmetric  s = max(|min|, |max|) / ((hi - lo) / 2), z = 0,   inside: |x| <= max(|min|, |max|)
//   affine     s = (max - min) / (hi - lo), z = round(min / s),  inside: min <= x <= max
//   y = s (clamp(round(x / s - z), lo, hi) + z),   dx = dy 1[inside and lo <= code <= hi]
// Codes of weights are narrow: -(2^(b-1) - 1) .. 2^(b-1) - 1 or 0 .. 2^b - 2. The range is not
// widened to contain 0. Elsewhere zero points have the opposite sign, and so have ours inside.
//
// Each training forward, and each batch of a calibration, moves the range:
//   minmax      min = min(min, batch), max = max(max, batch): it never shrinks
//   average     v = (1 - m) v + m batch for both; the first batch is copied
//   percentile  max likewise, from the k-th smallest |x|, k = p n; min = 0

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "quant/grid_quantizer.h"

namespace pare::quant {

namespace {

struct Iao final : GridQuantizer {
  Iao(const QuantizerSpec& spec, const Site& site)
      : GridQuantizer(spec, site),
        min(Tensor::full({groups}, -1.0f)),
        max(Tensor::full({groups}, 1.0f)) {}
  void visit(nn::Visitor& v) override {
    v.buffer("min", min).buffer("max", max);
    GridQuantizer::visit(v);
  }
  void observe(const Tensor& x) override { follow(x.detach()); }
  void settle() override {
    PARE_CHECK(calibrated.item() != 0, "quant: ", path.empty() ? "a quantizer" : path,
               " has seen no data: it cannot be calibrated");
  }
  Grid grid() const override {
    Grid g = coding == Coding::affine ? Grid::without_sign(bits())
                                      : Grid::with_sign(bits(), role == Role::weight);
    if (affine() && role == Role::weight) --g.hi;
    return g;
  }
  nn::Codes codes_for(const Tensor& y) const override {
    nn::Codes c = GridQuantizer::codes_for(y);
    c.shift_first = true;
    return c;
  }
  std::vector<ScaleZero> parameters() const override {
    std::vector<ScaleZero> all;
    for (int64_t k = 0; k < groups; ++k) all.push_back(parameters_of(k));
    return all;
  }

  Tensor min, max;  // [groups]: the range

 protected:
  void set_ranges(const Observer&) override {}
  Tensor quantize(const Tensor& x) override {
    if (training && !frozen) follow(x.detach());
    return apply(x);
  }
  Tensor apply(const Tensor& x) override {
    FakeQuantOptions o = op_options();
    o.shift_first = true;
    o.min = min.clone(), o.max = max.clone();
    Tensor scale = Tensor::uninit({groups}), zero = Tensor::uninit({groups});
    for (int64_t k = 0; k < groups; ++k) {
      const ScaleZero p = parameters_of(k);
      scale.data()[k] = p.scale, zero.data()[k] = p.zero;
      if (!affine()) {
        o.max.data()[k] = absmax(k);
        o.min.data()[k] = -absmax(k);
      }
    }
    return fake_quant(x, scale, zero, o);
  }

 private:
  float absmax(int64_t k) const {
    return std::max(std::fabs(min.data()[k]), std::fabs(max.data()[k]));
  }

  ScaleZero parameters_of(int64_t k) const {
    const Grid g = grid();
    // A range without width far from zero must not become more codes than a float can count.
    const float smallest = std::numeric_limits<float>::epsilon() * std::max(1.0f, absmax(k));
    if (!affine()) return {std::max(absmax(k) / ((g.hi - g.lo) / 2), smallest), 0};
    const float scale = std::max((max.data()[k] - min.data()[k]) / (g.hi - g.lo), smallest);
    return {scale, -std::round(min.data()[k] / scale)};
  }

  /// The smallest and largest values of a batch, or 0 and the percentile.
  std::vector<Interval> batch_ranges(const Tensor& x) const {
    if (!spec_.is("range", "percentile")) return extremes(x, share);
    std::vector<float> magnitudes;
    for (float v : x.span()) magnitudes.push_back(std::fabs(v));
    const double rank = spec_.options.number("percentile") * static_cast<double>(x.numel());
    const int64_t k = std::clamp<int64_t>(static_cast<int64_t>(rank), 1, x.numel());
    std::nth_element(magnitudes.begin(), magnitudes.begin() + (k - 1), magnitudes.end());
    return {{0, magnitudes[static_cast<size_t>(k - 1)]}};
  }

  void follow(const Tensor& x) {
    const std::vector<Interval> batch = batch_ranges(x);
    const bool first = calibrated.item() == 0, extreme = spec_.is("range", "minmax");
    const float m = spec_.number("momentum");
    for (int64_t k = 0; k < groups; ++k) {
      const Interval& now = batch[static_cast<size_t>(k)];
      PARE_CHECK(std::isfinite(now.min) && std::isfinite(now.max), "quant: ", spec_.name,
                 " met a value that is not finite: ", now.min, " to ", now.max);
      float &lo = min.data()[k], &hi = max.data()[k];
      lo = first ? now.min : extreme ? std::min(lo, now.min) : (1 - m) * lo + m * now.min;
      hi = first ? now.max : extreme ? std::max(hi, now.max) : (1 - m) * hi + m * now.max;
    }
    calibrated.fill_(1);
  }
};

Option range_option(bool weight) {
  using Words = std::vector<std::string>;
  Option o{.name = "range", .help = "how it follows the data", .usual = {}};
  o.words = weight ? Words{"minmax", "average"} : Words{"average", "minmax", "percentile"};
  o.usual = o.words.front();
  if (weight) o.refused = {{"percentile", "weights have no outliers that come and go"}};
  return o;
}

std::vector<Option> options(Role role) {
  const bool weight = role == Role::weight;
  const std::string only = "IAO has symmetric codes, or affine ones with a zero point";
  Option rounding = rounding_option();
  rounding.usual = "half-away";
  std::vector<Option> all = {
      coding_option({"symmetric", "affine"}, {{"unsigned", only}, {"auto", only}}),
      weight ? per_option({"channel", "tensor"})
             : per_option({"tensor"}, {{"channel", "IAO follows one range of an activation"}}),
      rounding,
      range_option(weight),
      {.name = "momentum",
       .help = "share of the newest batch in an average",
       .min = 0,
       .max = 1.0001,
       .usual = "0.1"}};
  if (!weight) {
    all.push_back({.name = "percentile",
                   .help = "share of the magnitudes that a percentile range keeps",
                   .min = 0,
                   .max = 1.0001,
                   .usual = "0.999999"});
  }
  return all;
}

std::string refuse(const QuantizerSpec& s) {
  const bool percentile = s.is("range", "percentile");
  if (percentile && !s.is("scheme", "symmetric")) {
    return "range=percentile is one of magnitudes: it needs scheme=symmetric";
  }
  if (s.is("range", "minmax") && !s.is("momentum", "0.1")) {
    return "momentum has no effect on range=minmax, which never shrinks";
  }
  if (s.role == Role::activation && !percentile && !s.is("percentile", "0.999999")) {
    return "percentile has no effect without range=percentile";
  }
  return {};
}

}  // namespace

namespace parts {
QuantizerInfo iao() {
  return {.name = "iao",
          .summary = "a range that follows the data in training, arXiv:1712.05877",
          .options = options,
          .refuse = refuse,
          .make = [](const QuantizerSpec& s, const Site& site) { return Iao(s, site); }};
}
}  // namespace parts

}  // namespace pare::quant
