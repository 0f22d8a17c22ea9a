#include "quant/ternary.h"

#include "quant/binary.h"
#include "quant/registry.h"

namespace pare::quant {

namespace {

std::vector<Option> options(Role role) {
  if (role == Role::activation) {
    return {ste_option(),
            {.name = "threshold",
             .help = "smallest magnitude that is not 0",
             .min = 0,
             .max = 1,
             .usual = "0.5"}};
  }
  return {switch_option("alpha", "off: weights without their scale"),
          {.name = "per",
           .help = "what shares a threshold and a scale",
           .words = {"filter", "layer"},
           .usual = "filter"},
          {.name = "threshold",
           .help = "of weights, times mean |w|",
           .min = 0,
           .max = 100,
           .usual = "0.7"},
          {.name = "gap",
           .help = "above 0: between gap x threshold and threshold weights keep their value",
           .min = 0,
           .max = 1,
           .usual = "0"}};
}

nn::Layer make(const QuantizerSpec& s, const Site& site) {
  if (s.role == Role::activation) return TernaryActivation(ste_of(s), s.number("threshold"));
  return TernaryWeight({.threshold = s.number("threshold"),
                        .alpha = s.is("alpha", "on"),
                        .per_layer = s.is("per", "layer"),
                        .gap = s.number("gap")},
                       site.weight);
}

}  // namespace

namespace parts {
QuantizerInfo ternary() {
  return {.name = "ternary",
          .summary = "three values, TWN arXiv:1605.04711",
          .min_bits = 0,
          .max_bits = 0,
          .is_sign = true,
          .options = options,
          .make = make};
}
}  // namespace parts

}  // namespace pare::quant
