// quant/{lsq,lsqplus,pact,iao}_*: quantizers on a uniform grid. Their scales are compared with what
// our calibration starts from; then values and gradients, from the file's own scales.

#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "quant/grid_quantizer.h"
#include "tests/golden/golden.h"

namespace pare::golden {

namespace {

// A mean or a sum of at most 2400 float32 values.
constexpr Tolerance kTolerance{.relative = 1e-5};

bool has(const std::string& stem, const char* word) { return stem.find(word) != std::string::npos; }

quant::QuantizerSpec spec_of(const Golden& g) {
  const std::string family = g.stem.substr(0, g.stem.find('_'));
  const bool weight = has(g.stem, "_weight");
  quant::QuantizerSpec s{family == "lsqplus" ? "lsq+" : family,
                         weight ? quant::Role::weight : quant::Role::activation,
                         g.integer("bits", 8)};
  if (family == "lsq" && weight) {
    s.options["per"] = has(g.stem, "perchannel") ? "channel" : "tensor";
  }
  if (family == "iao") s.options["scheme"] = has(g.stem, "asymmetric") ? "affine" : "symmetric";
  if (family == "iao" && weight)
    s.options["per"] = g.flag("per_channel", true) ? "channel" : "tensor";
  // Whatever sees nothing negative is "affine" there, with a zero point of 0.
  if (family == "lsq" && !weight) s.options["scheme"] = "unsigned";
  if (family == "pact") s.options["scheme"] = "unsigned";
  if (family == "lsqplus" && !weight) s.options["observer"] = "minmax";
  return s;
}

/// The named parameter of a quantizer.
Tensor parameter(const nn::Layer& q, const std::string& name) {
  for (const nn::NamedTensor& p : nn::parameters(q)) {
    if (p.name == name) return p.tensor;
  }
  return {};
}

Tensor flat(const Tensor& t) { return t.reshape({t.numel()}); }

void check_scales(const quant::GridQuantizer& q, const Tensor& scale, const Tensor& zero,
                  float zero_sign, Checks& checks) {
  Tensor ours = Tensor::uninit({q.groups}), zeros = Tensor::uninit({q.groups});
  const std::vector<quant::ScaleZero> parameters = q.parameters();
  for (size_t k = 0; k < parameters.size(); ++k) {
    ours.data()[k] = parameters[k].scale;
    zeros.data()[k] = zero_sign * parameters[k].zero;
  }
  checks.close("scale", ours, flat(scale), kTolerance);
  checks.close("zero_point", zeros, flat(zero), {});
}

/// iao_activation: three training batches, whose range moves on.
void check_batches(const Golden& g, nn::Layer& layer, Checks& checks) {
  for (const char* k : {"0", "1", "2"}) {
    Tensor x = g.image(str("x", k));
    x.requires_grad_();
    const Tensor y = layer(x);
    check_scales(*layer.as<quant::GridQuantizer>(), g.raw(str("scale", k)),
                 g.raw(str("zero_point", k)), -1, checks);
    checks.close(str("y", k), y, g.image(str("y", k)), kTolerance);
    y.backward(g.image(str("gy", k)));
    checks.close(str("gx", k), x.grad(), g.image(str("gx", k)), kTolerance);
  }
}

}  // namespace

void check_grid_quantizer(const Golden& g, Checks& checks) {
  const quant::QuantizerSpec spec = spec_of(g);
  const bool many = g.has("x0");
  Tensor x = g.image(many ? "x0" : "x");
  nn::Layer layer = quant::make_quantizer(spec, {x.shape(), x.dim(-1)});
  if (many) return check_batches(g, layer, checks);

  auto& q = *layer.as<quant::GridQuantizer>();
  q.observe(x);
  q.settle();
  const bool iao = spec.name == "iao";
  check_scales(q, g.raw("scale"), g.raw("zero_point"), iao ? -1 : 1, checks);
  q.frozen = true;  // a training forward would look at x again
  for (const auto& [ours, theirs] : {std::pair{"step", "scale"}, {"zero", "zero_point"}}) {
    if (Tensor p = parameter(layer, ours)) p.copy_(g.raw(theirs));
  }
  x.requires_grad_();
  const Tensor y = layer(x);
  checks.close("y", y, g.image("y"), kTolerance);
  y.backward(g.image("gy"));
  checks.close("gx", x.grad(), g.image("gx"), kTolerance);
  for (const auto& [ours, theirs] :
       {std::pair{"step", "gscale"}, {"zero", "gzero_point"}, {"alpha", "galpha"}}) {
    if (g.has(theirs))
      checks.close(theirs, parameter(layer, ours).grad(), g.raw(theirs), kTolerance);
  }
}

}  // namespace pare::golden
