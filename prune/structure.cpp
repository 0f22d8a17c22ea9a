#include "prune/structure.h"

#include <algorithm>

#include "nn/describe.h"
#include "nn/layers.h"

namespace pare::prune {

namespace {

/// Weights that quantizers pack, with the numbers that the quantizers hold, which count there.
std::map<std::string, double> packed_bits(nn::Layer& model) {
  std::map<std::string, double> bits;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    const auto weight = [&](const auto* l) {
      const auto* packer = l && l->weight_fn ? l->weight_fn.template as<nn::StoredBits>() : nullptr;
      if (!packer) return;
      const auto stored = static_cast<double>(packer->stored_bits(l->weight));
      bits[path.empty() ? "weight" : path + ".weight"] =
          stored / static_cast<double>(l->weight.numel());
    };
    weight(layer.as<nn::Conv2d>());
    weight(layer.as<nn::ConvTranspose2d>());
    weight(layer.as<nn::Linear>());
    const bool socket = path.ends_with("weight_fn") || path.ends_with("input_fn");
    if (!socket || !layer.as<nn::StoredBits>()) return;
    for (const auto& list : {nn::parameters(layer), nn::buffers(layer)}) {
      for (const nn::NamedTensor& t : list) bits[path + "." + t.name] = 0;
    }
  });
  return bits;
}

}  // namespace

Structure::Structure(nn::Layer& model, const Tensor& example)
    : graph(nn::trace(model, example)), channels(nn::channels(graph)), bits(packed_bits(model)) {
  std::map<std::string, int> uses;
  for (const nn::Channels::Group& g : channels.groups) {
    std::string name = g.makers.empty() ? std::string() : graph[g.makers.front()].name;
    const int use = name.empty() ? 1 : ++uses[name];
    names.push_back(use > 1 ? str(name, ":", use) : name);
  }
}

int Structure::find(const std::string& name) const {
  const auto it = std::find(names.begin(), names.end(), name);
  return name.empty() || it == names.end() ? -1 : static_cast<int>(it - names.begin());
}

std::string Structure::tied(int g) const {
  const std::vector<int>& makers = group(g).makers;
  std::string text;
  for (size_t i = 1; i < makers.size(); ++i) {
    text += (text.empty() ? "" : ", ") + graph[makers[i]].name;
  }
  return text;
}

}  // namespace pare::prune
