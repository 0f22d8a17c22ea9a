// quant/wbwtab_*, quant/dorefa_*: one quantizer, its input, output and straight-through gradient.
// The name says which: wbwtab_weight_W{2,3}, wbwtab_activation_A{2,3}, dorefa_weight_BITS,
// dorefa_activation_BITS.

#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "quant/binary.h"
#include "quant/dorefa.h"
#include "quant/ternary.h"
#include "tests/golden/golden.h"

namespace pare::golden {

namespace {

// A scale is a mean of 63 values here: a few 1e-7. Gradients of DoReFa add a sum over the layer.
constexpr Tolerance kTolerance{.relative = 1e-5};

Ste ste_of(const Golden& g) {
  const std::string name = g.text("ste", "clip");
  for (const Ste ste : {Ste::identity, Ste::clip, Ste::triangle, Ste::poly}) {
    if (name == quant::ste_name(ste)) return ste;
  }
  PARE_CHECK(false, "unknown ste ", name);
  return Ste::clip;
}

quant::DorefaForm form_of(const Golden& g) {
  const std::string name = g.text("form", "micronet");
  PARE_CHECK(name == "micronet" || name == "paper", "unknown form ", name);
  return name == "paper" ? quant::DorefaForm::paper : quant::DorefaForm::micronet;
}

int bits_of(const Golden& g) {
  const size_t at = g.stem.rfind('_');
  return g.integer("bits", std::stoi(g.stem.substr(at + 1)));
}

nn::Layer quantizer_of(const Golden& g, const Shape& shape) {
  const bool weight = g.stem.find("_weight") != std::string::npos;
  if (g.stem.rfind("dorefa", 0) == 0) {
    if (weight) return quant::DorefaWeight(bits_of(g), form_of(g));
    return quant::DorefaActivation(bits_of(g), form_of(g), g.number("prescale", 0.0f));
  }
  const int values = number_after(g.stem, weight ? 'W' : 'A').value_or(0);
  PARE_CHECK(values == 2 || values == 3, "the name ", g.stem, " does not end in ",
             weight ? "W2 or W3" : "A2 or A3");
  if (!weight && values == 2) return quant::BinaryActivation(ste_of(g));
  if (!weight) return quant::TernaryActivation(ste_of(g), g.number("threshold", 0.5f));
  if (values == 2) return quant::BinaryWeight({.alpha = g.flag("alpha", true)});
  return quant::TernaryWeight({.alpha = g.flag("alpha", true)}, shape);
}

/// u before rounding, in levels, in double: what decides whether two results may differ by one
/// level.
double level(const Golden& g, const Tensor& x, int64_t i, double max_tanh) {
  const double n = std::pow(2.0, bits_of(g)) - 1, v = x.data()[i];
  if (g.stem.find("_weight") != std::string::npos) return n * (std::tanh(v) / (2 * max_tanh) + 0.5);
  const double scale = g.number("prescale", form_of(g) == quant::DorefaForm::paper ? 1.0f : 0.1f);
  return n * std::min(std::max(scale * v, 0.0), 1.0);
}

/// Where u lies within its own rounding error of a tie, either neighbour is right: take the file's.
Tensor settle_ties(const Golden& g, const Tensor& x, const Tensor& got, const Tensor& want,
                   Checks& checks) {
  if (g.stem.rfind("dorefa", 0) != 0 || bits_of(g) < 2) return got;
  double max_tanh = 0;
  for (const float v : x.span()) max_tanh = std::max(max_tanh, std::fabs(std::tanh(double{v})));
  const double n = std::pow(2.0, bits_of(g)) - 1, error = n * 4 * 6e-8;
  const double step = (g.stem.find("_weight") != std::string::npos ? 2.0 : 1.0) / n;
  Tensor settled = got.clone();
  int ties = 0;
  for (int64_t i = 0; i < got.numel(); ++i) {
    const double u = level(g, x, i, max_tanh);
    const double gap = std::fabs(static_cast<double>(got.data()[i]) - want.data()[i]);
    const bool tie = std::fabs(u - std::floor(u) - 0.5) <= error;
    if (tie && gap > 0.5 * step && gap < 1.5 * step) {
      settled.data()[i] = want.data()[i];
      ++ties;
    }
  }
  if (ties) checks.note(str(ties, " values within rounding error of a tie"));
  return settled;
}

}  // namespace

void check_quantizer(const Golden& g, Checks& checks) {
  const bool own_name = g.has("w");  // weights of wbwtab are called w, everything else x
  const std::string x_name = own_name ? "w" : "x";
  Tensor x = g.image(x_name);
  const Tensor original = x.clone();
  x.requires_grad_();
  const nn::Layer quantizer = quantizer_of(g, x.shape());
  const Tensor y = quantizer(x), want = g.image("y");
  checks.close("y", settle_ties(g, original, y, want, checks), want, kTolerance);
  y.backward(g.image("gy"));
  checks.close("g" + x_name, x.grad(), g.image("g" + x_name), kTolerance);
  if (g.has("w_after")) checks.close("w_after", x, g.image("w_after"), kTolerance);
}

}  // namespace pare::golden
