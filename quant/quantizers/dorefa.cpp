#include "quant/dorefa.h"

#include "quant/registry.h"

namespace pare::quant {

namespace {

std::vector<Option> options(Role role) {
  std::vector<Option> all = {{.name = "form",
                              .help = "as in the paper, or as in micronet (halves away from zero, "
                                      "activations times 0.1)",
                              .words = {"paper", "micronet"},
                              .usual = "paper"}};
  if (role == Role::activation) {
    all.push_back({.name = "prescale",
                   .help = "factor on activations; 0: the form's own, 1 or 0.1",
                   .min = 0,
                   .max = 1e6,
                   .usual = "0"});
  }
  return all;
}

nn::Layer make(const QuantizerSpec& s, const Site&) {
  const DorefaForm form = s.is("form", "paper") ? DorefaForm::paper : DorefaForm::micronet;
  if (s.role == Role::weight) return DorefaWeight(s.bits, form);
  return DorefaActivation(s.bits, form, s.number("prescale"));
}

}  // namespace

namespace parts {
QuantizerInfo dorefa() {
  return {.name = "dorefa",
          .summary = "tanh weights and activations clipped to [0, 1], arXiv:1606.06160",
          .min_bits = 1,
          .options = options,
          .make = make};
}
}  // namespace parts

}  // namespace pare::quant
