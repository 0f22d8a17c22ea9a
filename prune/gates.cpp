#include "prune/gates.h"

#include <algorithm>
#include <map>
#include <set>

#include "prune/l0.h"
#include "prune/resrep.h"

namespace pare::prune {

namespace {

using nn::Graph;

/// The group whose channels all are those of this convolution, in their order, or -1.
int own_group(const Structure& s, int conv) {
  const std::vector<int>& units = s.channels.of[static_cast<size_t>(conv)];
  const int g = s.group_of(units.front());
  const nn::Channels::Group& group = s.group(g);
  const bool own = group.makers.size() == 1 && group.kept_because.empty() && group.units == units;
  return own ? g : -1;
}

std::map<std::string, nn::Layer*> layers_by_path(nn::Layer& model) {
  std::map<std::string, nn::Layer*> layers;
  nn::for_each_layer(model,
                     [&](const std::string& path, nn::Layer& layer) { layers[path] = &layer; });
  return layers;
}

class Find final : public nn::Visitor {
 public:
  std::vector<Gate*> found;
  void look(const nn::Layer& layer) {
    if (auto* gate = layer.as<Gate>()) found.push_back(gate);
    layer.visit(*this);
  }

 private:
  void on_child(std::string_view, nn::Layer& child) override { look(child); }
};

/// The gates of a model by the path that a batch norm had, and the convolutions in front of them.
struct Gated {
  std::string conv, norm;
  std::vector<bool> open;
};

/// Of a traced model with gates: the convolution that the batch norm of a gate reads.
std::vector<Gated> gated_places(nn::Layer& model, const Tensor& example) {
  const Structure s(model, example);
  std::vector<Gated> places;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    auto* gate = layer.as<Gate>();
    if (!gate) return;
    for (int i = 0; i < s.graph.size(); ++i) {
      if (s.graph[i].module != &gate->batch_norm() || s.graph[i].op != "batch_norm") continue;
      places.push_back({s.graph[s.graph.input_of(i, 0)].path, path, gate->open()});
    }
  });
  return places;
}

}  // namespace

std::vector<GatePlace> gate_places(const Structure& s) {
  std::vector<GatePlace> places;
  for (int i = 0; i < s.graph.size(); ++i) {
    const Graph::Node& norm = s.graph[i];
    const int source = s.graph.input_of(i, 0);
    if (norm.op != "batch_norm" || !norm.as<nn::BatchNorm2d>() || source == Graph::kNone) continue;
    const Graph::Node& layer = s.graph[source];
    auto* conv = layer.as<nn::Conv2d>();
    if (layer.op != "conv2d" || !conv || conv->opt.groups != 1 || layer.users.size() != 1) continue;
    if (!norm.as<nn::BatchNorm2d>()->weight) continue;
    const int group = own_group(s, source);
    if (group >= 0) places.push_back({layer.path, norm.path, group});
  }
  return places;
}

std::vector<Gate*> gates(const nn::Layer& model) {
  Find find;
  find.look(model);
  return std::move(find.found);
}

std::vector<std::string> gate_kinds() { return {"l0", "resrep"}; }

void add_gates(nn::Layer& model, const Tensor& example, const std::string& kind, const Rng& rng) {
  const std::vector<std::string> kinds = gate_kinds();
  PARE_CHECK(std::find(kinds.begin(), kinds.end(), kind) != kinds.end(),
             "prune: there are no gates called '", kind, "'", hint("l0 or resrep"));
  PARE_CHECK(gates(model).empty(), "prune: the model has gates already");
  const Structure s(model, example);
  const std::vector<GatePlace> places = gate_places(s);
  PARE_CHECK(!places.empty(), "prune: no gate can stand in this model",
             hint("they need batch norm right behind a convolution whose channels are not added to "
                  "those of others"));
  const auto layers = layers_by_path(model);
  uint64_t stream = 0;
  for (const GatePlace& p : places) {
    nn::Layer& place = *layers.at(p.norm);
    const bool training = place->training;
    if (kind == "l0") {
      const Tensor& w = layers.at(p.conv)->as<nn::Conv2d>()->weight;
      place = L0Gate(std::move(place), w.numel() / w.dim(0));
      place.as<L0Gate>()->rng = rng.split(stream++);
    } else {
      place = Compactor(std::move(place));
    }
    place->training = training;
  }
  nn::assign_paths(model);
}

Plan merge_gates(nn::Layer& model, const Tensor& example) {
  const std::vector<Gated> places = gated_places(model, example);
  PARE_CHECK(!places.empty(), "prune: the model has no gates to merge");
  const auto layers = layers_by_path(model);
  for (const Gated& p : places) {
    nn::Layer& place = *layers.at(p.norm);
    place.as<Gate>()->merge(*layers.at(p.conv)->as<nn::Conv2d>());
    nn::Layer norm = std::move(place.as<Gate>()->norm);
    place = std::move(norm);
  }
  nn::assign_paths(model);
  Plan plan{.method = "gates", .layers = {}};
  for (const Gated& p : places) {
    Plan::Layer l{.name = p.conv, .channels = static_cast<int64_t>(p.open.size())};
    for (size_t i = 0; i < p.open.size(); ++i) {
      if (p.open[i]) l.keep.push_back(static_cast<int64_t>(i));
    }
    if (l.keep.empty()) l.keep.push_back(0), l.note = "0 by its gate, at least 1 must stay";
    plan.layers.push_back(std::move(l));
  }
  return completed(plan, Structure(model, example));
}

void separate_gates(std::vector<nn::ParamGroup>& groups) {
  constexpr float kCompactorMomentum = 0.99f;
  nn::ParamGroup switches{.params = {}}, compactors{.params = {}, .momentum = kCompactorMomentum};
  const auto take = [&groups](const char* name, nn::ParamGroup& to) {
    const auto fits = [name](const nn::NamedTensor& p) { return p.name.ends_with(name); };
    for (nn::ParamGroup& g : groups) {
      std::copy_if(g.params.begin(), g.params.end(), std::back_inserter(to.params), fits);
      std::erase_if(g.params, fits);
    }
  };
  take(".log_alpha", switches);
  take(".compactor", compactors);
  for (nn::ParamGroup* g : {&switches, &compactors}) {
    if (!g->params.empty()) groups.push_back(std::move(*g));
  }
}

}  // namespace pare::prune
