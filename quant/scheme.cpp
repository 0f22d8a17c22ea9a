#include "quant/scheme.h"

#include <algorithm>

#include "nn/glob.h"
#include "quant/conv_bn.h"

namespace pare::quant {

namespace {

bool names(const std::string& word, const LayerInfo& info) {
  if (word == "first") return info.first();
  if (word == "last") return info.last();
  return nn::glob(word, info.path);
}

bool kept(const std::vector<std::string>& keep, const LayerInfo& info) {
  return std::any_of(keep.begin(), keep.end(), [&](const auto& word) { return names(word, info); });
}

bool is_sign(const std::optional<QuantizerSpec>& s) { return s && find_quantizer(s->name).is_sign; }

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

/// The quantizer of one side of a layer, with the bits that the scheme has for that layer.
std::optional<QuantizerSpec> with_bits(std::optional<QuantizerSpec> spec,
                                       const std::vector<LayerBits>& entries,
                                       const LayerInfo& info) {
  for (auto e = entries.rbegin(); spec && e != entries.rend(); ++e) {
    if (!names(e->layer, info)) continue;
    if (e->bits == 32) return {};
    spec->bits = e->bits;
    return checked(*spec);
  }
  return spec;
}

nn::Layer made(const std::optional<QuantizerSpec>& spec, const Site& site) {
  return spec ? make_quantizer(*spec, site) : nn::Layer{};
}

void check_replaceable(nn::Layer& model) {
  const std::vector<ActivationInfo> all = activations(model);
  PARE_CHECK(std::any_of(all.begin(), all.end(), [](const auto& a) { return a.between_layers(); }),
             "quant: place=act, but this model has no nonlinearity module between its layers",
             hint("use place=input"));
}

}  // namespace

void check_names(nn::Layer& model, const Scheme& s) {
  const std::vector<LayerInfo> all = layers(model);
  PARE_CHECK(!all.empty(), "quant: the model has no Conv2d or Linear layer");
  std::vector<std::string> words = s.keep;
  for (const auto* side : {&s.weight_bits, &s.input_bits}) {
    for (const LayerBits& entry : *side) words.push_back(entry.layer);
  }
  for (const std::string& word : words) {
    PARE_CHECK(std::any_of(all.begin(), all.end(), [&](const auto& i) { return names(word, i); }),
               "quant: ", word, " names no layer of this model",
               hint("say first, last or a path such as " + all.back().path + "; * fits anything"));
  }
}

std::optional<QuantizerSpec> spec_of(const Scheme& s, Role role, const LayerInfo& info) {
  if (kept(s.keep, info)) return {};
  const bool edge = info.first() || info.last();
  if (role == Role::weight) {
    return with_bits(edge && s.edge_weight ? s.edge_weight : s.weight, s.weight_bits, info);
  }
  return with_bits(edge && s.edge_input ? s.edge_input : s.activation, s.input_bits, info);
}

Report apply(nn::Layer& model, const Scheme& s, const Tensor& example) {
  check_names(model, s);
  PARE_CHECK(s.bn == BnPlace::apart || example,
             "quant: bn=fused and bn=corrected need an example input, to see which batch norm "
             "follows which convolution");
  const Place place = resolve(model, s);
  const bool replaces = s.activation && place == Place::act;
  const bool removes = is_sign(s.activation) && place == Place::input;
  if (replaces) check_replaceable(model);
  Report report = attach(model, [&](const LayerInfo& info) -> Spec {
    if (kept(s.keep, info)) return {};
    // In place of nonlinearities no quantizer sees what the first layer reads, the images.
    const bool own_input = !replaces || (info.first() && s.edge_input);
    const auto input = own_input ? spec_of(s, Role::activation, info) : std::nullopt;
    return {.weight = made(spec_of(s, Role::weight, info), info.site()),
            .input = made(input, info.site()),
            .xnor_scale = s.xnor};
  });
  const Report changed = replace_activations(model, [&](const ActivationInfo& info) -> Replacement {
    if (!info.between_layers() || !(replaces || removes)) return {};
    return {.replace = true, .layer = replaces ? made(s.activation, {}) : nn::Layer{}};
  });
  report.rows.insert(report.rows.end(), changed.rows.begin(), changed.rows.end());
  if (s.bn != BnPlace::apart) {
    fuse_bn(model, example, s.bn == BnPlace::fused ? BnFusion::batch : BnFusion::corrected);
  }
  return report;
}

}  // namespace pare::quant
