#include "quant/scheme.h"

#include <algorithm>
#include <string_view>

namespace pare::quant {

namespace {

bool is_sign(Method m) { return m == Method::binary || m == Method::ternary; }

// `path` against a pattern in which * stands for any run of characters.
bool matches(std::string_view pattern, std::string_view path) {
  if (pattern.empty()) return path.empty();
  if (pattern[0] != '*') {
    return !path.empty() && pattern[0] == path[0] && matches(pattern.substr(1), path.substr(1));
  }
  for (size_t skip = 0; skip <= path.size(); ++skip) {
    if (matches(pattern.substr(1), path.substr(skip))) return true;
  }
  return false;
}

bool names(const std::string& word, const LayerInfo& info) {
  if (word == "first") return info.first();
  if (word == "last") return info.last();
  return matches(word, info.path);
}

bool kept(const std::vector<std::string>& keep, const LayerInfo& info) {
  return std::any_of(keep.begin(), keep.end(), [&](const auto& word) { return names(word, info); });
}

// A name that fits no layer is a typing error, found before the model is touched.
void check_names(nn::Layer& model, const std::vector<std::string>& keep) {
  const std::vector<LayerInfo> all = layers(model);
  PARE_CHECK(!all.empty(), "quant: the model has no Conv2d or Linear layer");
  for (const std::string& word : keep) {
    PARE_CHECK(std::any_of(all.begin(), all.end(), [&](const auto& i) { return names(word, i); }),
               "quant: keep=", word, " names no layer of this model",
               hint("say first, last or a path such as " + all.back().path + "; * fits anything"));
  }
}

Place resolve(nn::Layer& model, const Scheme& s) {
  if (s.place != Place::automatic) return s.place;
  if (!is_sign(s.activation) || s.xnor) return Place::input;
  int between = 0;
  for (const ActivationInfo& a : activations(model)) {
    if (!a.between_layers()) continue;
    if (!a.in_chain) return Place::input;
    ++between;
  }
  return between ? Place::act : Place::input;
}

}  // namespace

nn::Layer weight_quantizer(const Scheme& s, const Shape& weight) {
  switch (s.weight) {
    case Method::binary:
      return BinaryWeight(s.binary);
    case Method::ternary:
      return TernaryWeight(s.ternary, weight);
    case Method::dorefa:
      return DorefaWeight(s.weight_bits, s.form);
    case Method::none:
      break;
  }
  return {};
}

nn::Layer activation_quantizer(const Scheme& s) {
  switch (s.activation) {
    case Method::binary:
      return BinaryActivation(s.ste);
    case Method::ternary:
      return TernaryActivation(s.ste, s.activation_threshold);
    case Method::dorefa:
      return DorefaActivation(s.activation_bits, s.form, s.prescale);
    case Method::none:
      break;
  }
  return {};
}

Report apply(nn::Layer& model, const Scheme& s) {
  check_names(model, s.keep);
  const Place place = resolve(model, s);
  const bool replaces = s.activation != Method::none && place == Place::act;
  const bool removes = is_sign(s.activation) && place == Place::input;
  if (replaces) {
    const std::vector<ActivationInfo> all = activations(model);
    PARE_CHECK(
        std::any_of(all.begin(), all.end(), [](const auto& a) { return a.between_layers(); }),
        "quant: place=act, but this model has no nonlinearity module between its layers",
        hint("use place=input"));
  }
  Report report = attach(model, [&](const LayerInfo& info) -> Spec {
    if (kept(s.keep, info)) return {};
    return {.weight = weight_quantizer(s, info.weight().shape()),
            .input = replaces ? nn::Layer{} : activation_quantizer(s),
            .xnor_scale = s.xnor};
  });
  const Report changed = replace_activations(model, [&](const ActivationInfo& info) -> Replacement {
    if (!info.between_layers() || !(replaces || removes)) return {};
    return {.replace = true, .layer = replaces ? activation_quantizer(s) : nn::Layer{}};
  });
  report.rows.insert(report.rows.end(), changed.rows.begin(), changed.rows.end());
  return report;
}

}  // namespace pare::quant
