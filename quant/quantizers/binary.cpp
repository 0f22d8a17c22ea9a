#include "quant/binary.h"

#include "quant/registry.h"

namespace pare::quant {

Option switch_option(const std::string& name, const std::string& help) {
  return {.name = name, .help = help, .words = {"on", "off"}, .usual = "on"};
}

Option ste_option() {
  return {.name = "ste",
          .help = "derivative of sign",
          .words = {"identity", "clip", "triangle", "poly"},
          .usual = "clip"};
}

Ste ste_of(const QuantizerSpec& s) {
  for (const Ste ste : {Ste::identity, Ste::triangle, Ste::poly}) {
    if (s.is("ste", ste_name(ste))) return ste;
  }
  return Ste::clip;
}

namespace parts {
QuantizerInfo binary() {
  const auto options = [](Role role) -> std::vector<Option> {
    if (role == Role::activation) return {ste_option()};
    return {switch_option("center", "off: do not centre weights"),
            switch_option("clamp", "off: do not clamp weights to [-1, 1]"),
            switch_option("in_place", "off: centre and clamp within the gradient, not in storage"),
            switch_option("alpha", "off: weights without their scale")};
  };
  const auto make = [](const QuantizerSpec& s, const Site&) -> nn::Layer {
    if (s.role == Role::activation) return BinaryActivation(ste_of(s));
    return BinaryWeight({.center = s.is("center", "on"),
                         .clamp = s.is("clamp", "on"),
                         .alpha = s.is("alpha", "on"),
                         .in_place = s.is("in_place", "on")});
  };
  return {.name = "binary",
          .summary = "two values, XNOR-Net arXiv:1603.05279",
          .min_bits = 0,
          .max_bits = 0,
          .is_sign = true,
          .options = options,
          .make = make};
}
}  // namespace parts

}  // namespace pare::quant
