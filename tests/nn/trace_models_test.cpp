// The traced graph and the channel units of every model in the library.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "core/autograd.h"
#include "models/models.h"
#include "nn/describe.h"
#include "nn/layers.h"
#include "nn/trace_channels.h"
#include "quant/scheme.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::nn;
using test::contains;

namespace {

struct Case {
  std::string name;
  models::Options options = {};
  std::string quant = {};
};

/// Narrow forms of all models, in all their variants.
std::vector<Case> cases() {
  const std::vector<int64_t> nin{6, 5, 4, 6, 6, 6, 6, 6}, gc{32, 32, 32, 64, 64, 64, 64, 64};
  const std::vector<int64_t> cifar{4, 8, 16}, imagenet{4, 8, 8, 8}, vgg(13, 6);
  std::vector<Case> all;
  for (const char* order : {"cbap", "bacp", "cbpa", "acbp"}) {
    all.push_back({"nin", {.widths = nin, .order = order}});
    all.push_back({"nin_gc", {.widths = gc, .order = order}});
  }
  all.push_back({"nin_3x3", {.widths = nin}});
  all.push_back({"nin_gc", {.widths = gc}, "wbab:W2A2"});
  all.push_back({"nin", {.widths = nin}, "W=binary,A=binary,xnor=on"});
  all.push_back({"resnet20", {.widths = cifar}, "wqaq:W4A4"});
  for (const char* depth : {"20", "32", "44", "56", "110"}) {
    all.push_back({str("resnet", depth), {.widths = cifar}});
    all.push_back({str("resnet", depth), {.widths = cifar, .shortcut = "A"}});
  }
  for (const char* depth : {"18", "34", "50"}) {
    all.push_back({str("resnet", depth), {.widths = imagenet}});
  }
  all.push_back({"resnet18", {.image = {64, 64, 3}, .widths = imagenet, .stem = "imagenet"}});
  all.push_back({"vgg16_bn", {.widths = vgg}});
  all.push_back({"lenet5", {.image = {28, 28, 1}}});
  for (const char* name :
       {"mobilenet_v1", "mobilenet_v2", "efficientnet_lite0", "regnet_x_600mf", "squeezenet1_0"}) {
    all.push_back({name, {}});
  }
  return all;
}

Layer ready(const Case& c) {
  Layer model = models::make(c.name, c.options);
  Rng rng(1);
  init(model, rng, models::init_options(c.name));
  if (!c.quant.empty()) quant::apply(model, quant::parse_scheme(c.quant));
  return model;
}

Tensor images(const Case& c, int64_t n) {
  Rng rng(2);
  const Shape& s = c.options.image;
  return Tensor::normal({n, s[0], s[1], s[2]}, rng);
}

std::string described(const Case& c) {
  return c.name + " " + c.options.order + c.options.shortcut + c.options.stem + " " + c.quant;
}

/// f(offset) for the elements of a tensor whose channel along the axis is `unit`.
template <class F>
void for_elements(const Graph& g, const Channels::Axis& a, int unit, F&& f) {
  const Shape& s = g[a.tensor].shape;
  const int64_t size = s.dim(a.axis), block = s.dim(0) / a.groups;
  int64_t inner = 1;
  for (int i = a.axis + 1; i < s.dims(); ++i) inner *= s.dim(i);
  for (int64_t at = 0; at < s.numel(); ++at) {
    // In a grouped weight the index counts within the group that row `at` belongs to.
    const int64_t group = a.groups == 1 ? 0 : at / (s.numel() / s.dim(0)) / block;
    const int64_t index = group * size + at / inner % size;
    if (a.units[static_cast<size_t>(index)] == unit) f(at);
  }
}

/// Switches a unit off where it is made and held, and disturbs its readers by `noise`.
void silence(const Graph& g, const Channels& c, int unit, float noise) {
  for (const Channels::Axis& a : c.axes) {
    Tensor t = g[a.tensor].tensor;
    const bool read = a.role == Channels::Role::in;
    if (contains(g[a.tensor].name, "running_var")) continue;
    for_elements(g, a, unit,
                 [&](int64_t at) { t.data()[at] = read ? t.data()[at] + noise : 0.0f; });
  }
}

std::vector<int> removable_units(const Channels& c) {
  std::vector<int> units;
  for (int u = 0; u < c.units; ++u) {
    if (c.removable(u)) units.push_back(u);
  }
  return units;
}

}  // namespace

TEST_CASE("every model is traced: one node per layer, with the layer's name, weight and shape") {
  for (const Case& c : cases()) {
    CAPTURE(described(c));
    Layer model = ready(c);
    const Graph g = trace(model, images(c, 1));
    const Summary summary = summarize(model, c.options.image);
    int found = 0, layers = 0;
    for (const LayerRow& row : summary.rows) {
      CAPTURE(row.path);
      const bool layer = row.type.rfind("Conv2d", 0) == 0 || row.type.rfind("Linear", 0) == 0 ||
                         row.type.rfind("BatchNorm2d", 0) == 0;
      layers += layer;
      const int i = g.find(row.path);
      if (i == Graph::kNone) continue;
      found += layer;
      CHECK(g[i].shape == row.output);
      if (layer) CHECK(contains(g.input_of(i, 1) == Graph::kNone ? "" : g[i].path, row.path));
    }
    CHECK(found == layers);
    CHECK(layers > 4);
    std::set<std::string> names;
    for (const Graph::Node& n : g.nodes) CHECK(names.insert(n.name).second);
    for (const NamedTensor& p : parameters(model)) {
      CAPTURE(p.name);
      const int i = g.find(p.name);
      REQUIRE(i != Graph::kNone);
      CHECK(g[i].tensor.data() == p.tensor.data());
    }
    CHECK(g[g.output].shape == Shape{1, c.options.classes});
  }
}

TEST_CASE("every model: all channels between input and output are removable, padding aside") {
  for (const Case& c : cases()) {
    CAPTURE(described(c));
    Layer model = ready(c);
    const Graph g = trace(model, images(c, 1));
    const Channels channels = nn::channels(g);
    for (const Channels::Group& group : channels.groups) {
      if (group.kept_because.empty()) {
        CHECK_FALSE(group.makers.empty());
        continue;
      }
      CAPTURE(group.kept_because);
      const bool expected =
          group.kept_because == "channels of the input" ||
          group.kept_because == "channels of the output" ||
          (c.options.shortcut == "A" && contains(group.kept_because, "padding")) ||
          contains(c.quant, "xnor");
      CHECK(expected);
    }
    // Every weight has both of its axes but for depthwise ones, every other parameter its only one.
    for (const Graph::Node& n : g.nodes) {
      if (n.op != Graph::kParameter) continue;
      CAPTURE(n.name);
      const auto axes =
          std::count_if(channels.axes.begin(), channels.axes.end(),
                        [&](const Channels::Axis& a) { return g[a.tensor].name == n.name; });
      const bool depthwise = n.shape.dims() == 4 && n.shape[3] == 1 && c.options.image[2] != 1;
      CHECK(axes == (n.shape.dims() > 1 && !depthwise ? 2 : 1));
    }
  }
}

TEST_CASE("every model: what a switched-off unit would be read with does not matter") {
  for (const Case& c : cases()) {
    if (!c.quant.empty()) continue;  // a zero is not a zero to a binary quantizer
    if (c.name == "resnet44" || c.name == "resnet110") continue;  // more of the same
    CAPTURE(described(c));
    const Tensor x = images(c, 1);
    const Layer original = ready(c);
    Layer traced = original;
    const std::vector<int> units = removable_units(nn::channels(trace(traced, x)));
    REQUIRE(units.size() > 10);
    const size_t step = std::max<size_t>(1, units.size() / 5);
    int matters = 0;
    for (size_t i = 0; i < units.size(); i += step) {
      CAPTURE(units[i]);
      const auto output = [&](float noise, bool off) {
        Layer model = original;
        const Graph g = trace(model, x);
        Channels channels = nn::channels(g);
        if (!off) {
          std::erase_if(channels.axes, [](const auto& a) { return a.role != Channels::Role::in; });
        }
        silence(g, channels, units[i], noise);
        const EvalMode eval(model);
        const NoGrad guard;
        return model(x);
      };
      const Tensor off = output(0.0f, true), plain = output(0.0f, false);
      CHECK(off == output(3.0f, true));
      matters += !(plain == output(3.0f, false)) && !(plain == off);
    }
    CHECK(matters > 0);
  }
}
