#include "nn/layer_changes.h"

#include <set>

#include "nn/layers.h"

namespace pare::nn {

namespace {

/// The sizes of a layer, all set; nothing for modules that do not change.
std::optional<LayerChange> sizes_of(const Layer& layer) {
  const auto conv = [](const auto& o) -> LayerChange {
    return {.in = o.in, .out = o.out, .groups = o.groups, .bias = o.bias};
  };
  if (auto* c = layer.as<Conv2d>()) return conv(c->opt);
  if (auto* c = layer.as<ConvTranspose2d>()) return conv(c->opt);
  if (auto* l = layer.as<Linear>()) {
    return LayerChange{.in = l->opt.in, .out = l->opt.out, .bias = l->opt.bias};
  }
  if (auto* bn = layer.as<BatchNorm2d>()) return LayerChange{.out = bn->running_mean.numel()};
  if (auto* ln = layer.as<LayerNorm>()) return LayerChange{.out = ln->weight.numel()};
  return {};
}

/// Sizes by path of all layers that can change.
std::map<std::string, LayerChange> all_sizes(Layer& model) {
  std::map<std::string, LayerChange> sizes;
  for_each_layer(model, [&](const std::string& path, Layer& layer) {
    if (const auto s = sizes_of(layer)) sizes[path] = *s;
  });
  return sizes;
}

std::set<std::string> all_paths(Layer& model) {
  std::set<std::string> paths;
  for_each_layer(model, [&](const std::string& path, Layer&) { paths.insert(path); });
  return paths;
}

/// What was taken out with the layer at `path`: itself, or the largest module around it that is
/// gone.
std::string taken_out(const std::string& path, const std::set<std::string>& now) {
  for (size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', dot + 1)) {
    if (now.count(path.substr(0, dot)) == 0) return path.substr(0, dot);
  }
  return path;
}

template <class T>
std::optional<T> changed(const std::optional<T>& before, const std::optional<T>& now) {
  return before == now ? std::optional<T>{} : now;
}

LayerChange difference(const LayerChange& before, const LayerChange& now) {
  return {.in = changed(before.in, now.in),
          .out = changed(before.out, now.out),
          .groups = changed(before.groups, now.groups),
          .bias = changed(before.bias, now.bias)};
}

/// The layer in a wrapper that took the place `path`: the first one below it.
std::map<std::string, LayerChange>::const_iterator below(
    const std::map<std::string, LayerChange>& sizes, const std::string& path) {
  const std::string prefix = path + ".";
  const auto it = sizes.lower_bound(prefix);
  return it != sizes.end() && it->first.rfind(prefix, 0) == 0 ? it : sizes.end();
}

template <class L, class Options>
void resize(Layer& layer, const Options& options) {
  L& old = *layer.as<L>();
  L fresh(options);
  fresh.training = old.training;
  fresh.path = old.path;
  if constexpr (requires { fresh.weight_fn; }) {
    fresh.weight_fn = std::move(old.weight_fn);
    fresh.input_fn = std::move(old.input_fn);
  }
  layer = std::move(fresh);
}

template <class L>
void resize_conv(Layer& layer, const LayerChange& c) {
  auto o = layer.as<L>()->opt;
  o.in = c.in.value_or(o.in);
  o.out = c.out.value_or(o.out);
  o.groups = static_cast<int>(c.groups.value_or(o.groups));
  o.bias = c.bias.value_or(o.bias);
  resize<L>(layer, o);
}

void apply_change(Layer& layer, const std::string& path, const LayerChange& c) {
  if (c.removed) {
    layer = {};
    return;
  }
  const auto before = sizes_of(layer);
  PARE_CHECK(before, path, ": ", layer->describe(), " cannot be changed");
  PARE_CHECK((before->in || !c.in) && (before->groups || !c.groups) && (before->bias || !c.bias),
             path, ": ", layer->describe(), " has nothing of this kind to change");
  if (layer.as<Conv2d>()) return resize_conv<Conv2d>(layer, c);
  if (layer.as<ConvTranspose2d>()) return resize_conv<ConvTranspose2d>(layer, c);
  if (auto* l = layer.as<Linear>()) {
    return resize<Linear>(layer, LinearOptions{c.in.value_or(l->opt.in), c.out.value_or(l->opt.out),
                                               c.bias.value_or(l->opt.bias)});
  }
  const int64_t channels = c.out.value_or(*before->out);
  const bool training = layer->training;
  if (auto* bn = layer.as<BatchNorm2d>()) {
    layer = BatchNorm2d(channels, BatchNorm2d::Options(bn->opt));
  } else {
    layer = LayerNorm(channels, layer.as<LayerNorm>()->eps);
  }
  layer->training = training;
  layer->path = path;
}

}  // namespace

LayerChanges layer_changes(Layer& original, Layer& now) {
  const auto before = all_sizes(original), after = all_sizes(now);
  std::set<std::string> learned;
  for (const NamedTensor& p : parameters(now)) learned.insert(p.name);
  const std::set<std::string> paths = all_paths(now);
  LayerChanges changes;
  for (const auto& [path, sizes] : before) {
    auto it = after.find(path);
    const bool wrapped = it == after.end();
    if (wrapped) it = below(after, path);
    if (it == after.end()) {
      changes[taken_out(path, paths)].removed = true;
      continue;
    }
    LayerChange change = difference(sizes, it->second);
    if (wrapped && learned.count(path + ".bias")) change.bias.reset();  // the wrapper has it
    if (change != LayerChange{}) changes[path] = change;
  }
  return changes;
}

void apply_changes(Layer& model, const LayerChanges& changes) {
  LayerChanges unknown = changes;
  for_each_layer(model, [&](const std::string& path, Layer&) { unknown.erase(path); });
  std::string names;
  for (const auto& [path, change] : unknown) names += (names.empty() ? "" : ", ") + path;
  PARE_CHECK(unknown.empty(), "the model has no layer ", names,
             hint("the changes are those of another model"));
  for_each_layer(model, [&](const std::string& path, Layer& layer) {
    const auto it = changes.find(path);
    if (it != changes.end()) apply_change(layer, path, it->second);
  });
}

}  // namespace pare::nn
