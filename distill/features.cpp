#include "distill/features.h"

#include "core/autograd.h"
#include "core/error.h"
#include "nn/nearest.h"

namespace pare::distill {

Taps::Taps(nn::Layer& model, const std::vector<std::string>& paths, const std::string& who,
           bool always)
    : who_(who), always_(always) {
  std::map<std::string, const nn::Module*> modules;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    if (!path.empty()) modules[path] = &*layer;
  });
  std::vector<std::string> names;
  for (const auto& entry : modules) names.push_back(entry.first);
  for (const std::string& path : paths) {
    const auto it = modules.find(path);
    PARE_CHECK(it != modules.end(), "distill: the ", who, " has no module '", path, "'",
               hint("the nearest is '" + nn::nearest(path, names) +
                    "'; `pare info --model NAME` lists them"));
    wanted_[it->second] = path;
  }
}

void Taps::after(nn::Module& module, const Tensor&, const Tensor& y) {
  if (!always_ && !grad_enabled()) return;
  const auto it = wanted_.find(&module);
  if (it != wanted_.end()) seen_[it->second] = y;
}

std::vector<Tensor> Taps::of(const std::vector<std::string>& paths) const {
  std::vector<Tensor> found;
  for (const std::string& path : paths) {
    const auto it = seen_.find(path);
    PARE_CHECK(it != seen_.end(), "distill: module '", path, "' of the ", who_,
               " was not called in the forward pass");
    found.push_back(it->second);
  }
  return found;
}

}  // namespace pare::distill
