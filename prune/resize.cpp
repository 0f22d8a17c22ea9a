#include "prune/resize.h"

#include <algorithm>
#include <map>

#include "nn/layers.h"

namespace pare::prune {

namespace {

using Axis = nn::Channels::Axis;

/// Tensors of other shapes, by name.
class Resizer final : public nn::PathVisitor {
 public:
  explicit Resizer(std::map<std::string, Shape> shapes) : shapes_(std::move(shapes)) {}

 private:
  void resize(std::string_view name, Tensor& t) {
    const auto it = shapes_.find(join(name));
    if (it == shapes_.end() || it->second == t.shape()) return;
    const bool learned = t.requires_grad();
    t = Tensor::zeros(it->second);
    t.requires_grad_(learned);
  }
  void on_parameter(std::string_view name, Tensor& t) override { resize(name, t); }
  void on_buffer(std::string_view name, Tensor& t) override { resize(name, t); }

  std::map<std::string, Shape> shapes_;
};

void update_options(nn::Layer& layer) {
  if (auto* c = layer.as<nn::Conv2d>()) {
    auto& o = c->opt;
    const bool depthwise = o.groups > 1 && o.groups == o.in;
    const int64_t each = o.out / o.in;  // filters of a channel, if depthwise
    o.out = c->weight.dim(0);
    if (depthwise) o.groups = static_cast<int>(o.out / each);
    o.in = c->weight.dim(3) * o.groups;
  } else if (auto* up = layer.as<nn::ConvTranspose2d>()) {
    auto& o = up->opt;
    const bool depthwise = o.groups > 1 && o.groups == o.in;
    o.in = up->weight.dim(0);
    if (depthwise) o.groups = static_cast<int>(o.in);
    o.out = up->weight.dim(3) * o.groups;
  } else if (auto* l = layer.as<nn::Linear>()) {
    l->opt.in = l->weight.dim(1);
    l->opt.out = l->weight.dim(0);
  }
}

}  // namespace

nn::Layer resized(const nn::Layer& model, const Structure& s, const Keep& keep) {
  std::map<std::string, Shape> shapes;
  for (const Axis& a : s.channels.axes) {
    const nn::Graph::Node& t = s.graph[a.tensor];
    const int64_t kept = std::count_if(a.units.begin(), a.units.end(),
                                       [&](int u) { return keep[static_cast<size_t>(u)]; });
    const auto it = shapes.try_emplace(t.name, t.shape).first;
    it->second = it->second.with(a.axis, kept / a.groups);
  }
  nn::Layer small = model;
  Resizer(std::move(shapes)).walk(small);
  nn::for_each_layer(small, [](const std::string&, nn::Layer& layer) { update_options(layer); });
  return small;
}

}  // namespace pare::prune
