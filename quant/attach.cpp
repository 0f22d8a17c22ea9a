#include "quant/attach.h"

#include <algorithm>
#include <iomanip>
#include <map>
#include <set>

#include "quant/quantizer.h"
#include "quant/xnor.h"

namespace pare::quant {

namespace {

struct LayerSlot {
  LayerInfo info;
  nn::Layer* layer;
  bool scaled;  // inside an XNOR wrapper already
};

struct ActivationSlot {
  ActivationInfo info;
  nn::Layer* layer;
};

struct Slots {
  std::vector<LayerSlot> layers;
  std::vector<ActivationSlot> activations;
};

std::string parent_of(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos ? std::string{} : path.substr(0, dot);
}

// One walk over the model. Layers are collected first and changed later: a wrapped layer must not
// be met again.
Slots slots_of(nn::Layer& model) {
  PARE_CHECK(model, "quant: the model is empty");
  Slots slots;
  std::set<const nn::Layer*> wrapped;
  std::set<std::string> sequentials, layer_paths;
  std::map<std::string, int> layers_in;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    if (layer.as<nn::Sequential>()) sequentials.insert(path);
    if (auto* x = layer.as<XnorConv2d>()) wrapped.insert(&x->conv);
    if (auto* x = layer.as<XnorLinear>()) wrapped.insert(&x->linear);
    const auto* conv = layer.as<nn::Conv2d>();
    const auto* linear = layer.as<nn::Linear>();
    const std::string parent = parent_of(path);
    if (conv || linear) {
      const int index = static_cast<int>(slots.layers.size());
      slots.layers.push_back({{path, conv, linear, index, 0}, &layer, wrapped.count(&layer) > 0});
      layer_paths.insert(path);
      ++layers_in[parent];
    } else if (const auto* f = layer.as<nn::Activation>(); f && !layer_paths.count(parent)) {
      const int before = static_cast<int>(slots.layers.size());
      slots.activations.push_back({{path, f, before, 0, false}, &layer});
    }
  });
  const int count = static_cast<int>(slots.layers.size());
  for (LayerSlot& s : slots.layers) s.info.count = count;
  for (ActivationSlot& s : slots.activations) {
    const std::string parent = parent_of(s.info.path);
    s.info.layers_after = count - s.info.layers_before;
    s.info.in_chain = sequentials.count(parent) > 0 || layers_in[parent] <= 1;
  }
  return slots;
}

void put(nn::Layer& socket, nn::Layer part, const char* name, const LayerSlot& slot) {
  if (!part) return;
  PARE_CHECK(!socket || socket.as<Quantizer>(), "quant: the socket ", name, " of ", slot.info.path,
             " holds ", socket ? socket->describe() : "",
             hint("empty it first, or leave this layer out"));
  nn::set_training(part, (*slot.layer)->training);
  socket = std::move(part);
}

std::string name_of(const nn::Layer& part) { return part ? part->describe() : "float"; }

/// Without what is in its sockets, which has columns of its own.
std::string plain_description(const LayerInfo& info) {
  std::string text = info.conv ? info.conv->describe() : info.linear->describe();
  for (const char* socket : {", weight=", ", input="}) {
    if (const size_t at = text.find(socket); at != std::string::npos)
      text = text.substr(0, at) + ")";
  }
  return text;
}

Report::Row row_of(const LayerInfo& info, const nn::Layer& weight_fn, const nn::Layer& input_fn,
                   bool scaled) {
  const auto* stored = weight_fn ? weight_fn.as<nn::StoredBits>() : nullptr;
  const Tensor& w = info.weight();
  return {.path = info.path,
          .layer = plain_description(info),
          .weight = name_of(weight_fn) + (scaled ? " x K" : ""),
          .input = name_of(input_fn),
          .weights = w.numel(),
          .bits = stored ? stored->stored_bits(w) : 32 * w.numel()};
}

template <class Wrapper, class L>
void wrap(nn::Layer& layer) {
  L inner = std::move(*layer.as<L>());
  const bool training = inner.training;
  layer = Wrapper(std::move(inner));
  layer->training = training;
}

Report::Row fill(LayerSlot& slot, Spec spec) {
  auto* conv = slot.layer->as<nn::Conv2d>();
  auto* linear = slot.layer->as<nn::Linear>();
  nn::Layer& weight_fn = conv ? conv->weight_fn : linear->weight_fn;
  nn::Layer& input_fn = conv ? conv->input_fn : linear->input_fn;
  put(weight_fn, std::move(spec.weight), "weight_fn", slot);
  put(input_fn, std::move(spec.input), "input_fn", slot);
  const bool wraps = spec.xnor_scale && !slot.scaled;
  Report::Row row = row_of(slot.info, weight_fn, input_fn, wraps || slot.scaled);
  if (wraps && conv) wrap<XnorConv2d, nn::Conv2d>(*slot.layer);
  if (wraps && linear) wrap<XnorLinear, nn::Linear>(*slot.layer);
  return row;
}

std::string bytes(int64_t bits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(2) << static_cast<double>(bits) / 8e3 << " kB";
  return out.str();
}

}  // namespace

nn::Layer weights(const std::string& quantizer, const LayerInfo& layer, const Options& options) {
  return make_quantizer(parse_quantizer(quantizer, Role::weight, options), layer.site());
}

nn::Layer inputs(const std::string& quantizer, const LayerInfo& layer, const Options& options) {
  return make_quantizer(parse_quantizer(quantizer, Role::activation, options), layer.site());
}

Report attach_each(nn::Layer& model, const LayerRule& rule) {
  Report report;
  for (LayerSlot& slot : slots_of(model).layers) report.rows.push_back(fill(slot, rule(slot.info)));
  nn::assign_paths(model);
  return report;
}

std::vector<LayerInfo> layers(nn::Layer& model) {
  std::vector<LayerInfo> all;
  for (const LayerSlot& slot : slots_of(model).layers) all.push_back(slot.info);
  return all;
}

std::vector<ActivationInfo> activations(nn::Layer& model) {
  std::vector<ActivationInfo> all;
  for (const ActivationSlot& slot : slots_of(model).activations) all.push_back(slot.info);
  return all;
}

Report replace_activations(nn::Layer& model, const ActivationRule& rule) {
  Report report;
  for (ActivationSlot& slot : slots_of(model).activations) {
    Replacement r = rule(slot.info);
    if (!r.replace) continue;
    report.rows.push_back({.path = slot.info.path,
                           .layer = slot.info.activation->describe(),
                           .weight = "",
                           .input = r.layer ? r.layer->describe() : "removed"});
    if (r.layer) nn::set_training(r.layer, (*slot.layer)->training);
    *slot.layer = std::move(r.layer);
  }
  nn::assign_paths(model);
  return report;
}

std::ostream& operator<<(std::ostream& out, const Report& report) {
  std::vector<std::vector<std::string>> cells{{"path", "layer", "weight", "size", "input"}};
  int64_t bits = 0, weights = 0;
  for (const Report::Row& r : report.rows) {
    cells.push_back({r.path, r.layer, r.weight, r.weights ? bytes(r.bits) : "", r.input});
    bits += r.bits;
    weights += r.weights;
  }
  cells.push_back({"total", "", "", bytes(bits), "(float: " + bytes(32 * weights) + ")"});
  std::vector<size_t> width(cells[0].size());
  for (const auto& row : cells) {
    for (size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  for (const auto& row : cells) {
    std::ostringstream line;
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      line << std::left << std::setw(static_cast<int>(width[i]) + 2) << row[i];
    }
    out << line.str() << row.back() << '\n';
  }
  return out;
}

}  // namespace pare::quant
