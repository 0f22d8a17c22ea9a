#include "prune/saliency.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/ops.h"
#include "nn/layers.h"
#include "prune/activations.h"

namespace pare::prune {

namespace {

/// y = inner(x * m), m = 1 for every image and channel: its gradient is the sum of x dy over
/// positions.
struct Gate final : nn::Module {
  explicit Gate(nn::Layer inner_layer) : inner(std::move(inner_layer)) {}
  Tensor forward(const Tensor& x) override {
    if (!m) {
      Shape shape = x.shape();
      for (int i = 1; i + 1 < shape.dims(); ++i) shape = shape.with(i, 1);
      m = Tensor::ones(shape).requires_grad_();
    }
    return inner(x * m);
  }
  void visit(nn::Visitor& v) override { v("inner", inner); }
  std::string describe() const override { return "Gate"; }

  nn::Layer inner;
  Tensor m;  // [N, 1, 1, C], for one batch
};

nn::Layer* input_socket(nn::Layer& layer) {
  if (auto* c = layer.as<nn::Conv2d>()) return &c->input_fn;
  if (auto* c = layer.as<nn::ConvTranspose2d>()) return &c->input_fn;
  if (auto* l = layer.as<nn::Linear>()) return &l->input_fn;
  return nullptr;
}

/// Units of the input channels of each layer that reads some, by path.
std::map<std::string, std::vector<int>> readers(const Structure& s) {
  std::map<std::string, std::vector<int>> units;
  for (const nn::Channels::Axis& a : s.channels.axes) {
    const nn::Graph::Node& user = s.graph[a.users.front()];
    if (a.role == nn::Channels::Role::in) units[user.path] = a.units;
  }
  return units;
}

struct Gated {
  Gate* gate;
  const std::vector<int>* units;
};

/// Adds g of the batch; resets the gates.
void collect(const std::vector<Gated>& gates, int64_t images, Saliency& total) {
  const size_t units = total.square.size();
  std::vector<double> g(static_cast<size_t>(images) * units);
  for (const Gated& each : gates) {
    const Tensor dm = each.gate->m ? each.gate->m.grad() : Tensor{};
    each.gate->m = {};
    if (!dm) continue;  // the loss does not depend on what it reads
    const size_t width = each.units->size();
    for (size_t at = 0; at < static_cast<size_t>(dm.numel()); ++at) {
      const auto unit = static_cast<size_t>((*each.units)[at % width]);
      // The loss is the mean over the batch.
      g[at / width * units + unit] += double{dm.data()[at]} * static_cast<double>(images);
    }
  }
  for (size_t at = 0; at < g.size(); ++at) {
    total.magnitude[at % units] += std::fabs(g[at]);
    total.square[at % units] += g[at] * g[at];
  }
  total.images += images;
}

}  // namespace

Saliency saliency(const Subject& s) {
  const auto count = static_cast<size_t>(s.structure.channels.units);
  Saliency total{std::vector<double>(count), std::vector<double>(count), std::vector<bool>(count)};
  nn::Layer model = s.model;
  const auto units = readers(s.structure);
  std::vector<Gated> gates;
  std::vector<std::pair<nn::Layer*, const std::vector<int>*>> places;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    const auto it = units.find(path);
    nn::Layer* socket = it == units.end() ? nullptr : input_socket(layer);
    if (socket) places.emplace_back(socket, &it->second);
  });
  for (const auto& [socket, list] : places) {
    *socket = Gate(std::move(*socket));
    gates.push_back({socket->as<Gate>(), list});
    for (int u : *list) total.read[static_cast<size_t>(u)] = true;
  }
  nn::set_requires_grad(model, false);
  const nn::EvalMode eval(model);
  for_batches(*s.images, s.count, [&](const Batch& batch) {
    cross_entropy(model(batch.x), batch.y).backward();
    collect(gates, batch.x.dim(0), total);
  });
  return total;
}

Scores square_per(const Subject& s, double Cost::*saved) {
  const Saliency found = saliency(s);
  const std::vector<Cost> costs = CostModel(s.structure).per_unit();
  ScoreMean mean(s.structure);
  for (size_t u = 0; u < found.square.size(); ++u) {
    if (!found.read[u]) continue;
    const int unit = static_cast<int>(u);
    const Cost& cost = costs[static_cast<size_t>(s.structure.group_of(unit))];
    mean.add(unit, found.square[u] / std::max(cost.*saved, 1.0));
  }
  return mean.scores("no layer reads it");
}

}  // namespace pare::prune
