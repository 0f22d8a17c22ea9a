#include "prune/structure.h"

#include <algorithm>
#include <map>

namespace pare::prune {

Structure::Structure(nn::Layer& model, const Tensor& example)
    : graph(nn::trace(model, example)), channels(nn::channels(graph)) {
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
