#include "quant/registry.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "quant/calibrate.h"
#include "quant/grid_quantizer.h"
#include "quant/scheme.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using namespace quant;
using test::contains, test::message_of;

// What a program outside of the library writes: a quantizer and an observer, nothing else.

/// Powers of two: y = sign(x) 2^round(log2 |x|), dx = dy.
struct PowerOfTwo final : Quantizer {
  explicit PowerOfTwo(int bits) : bits_(bits) {}
  Tensor quantize(const Tensor& x) override {
    Tensor y = x.clone();
    for (float& v : y.span()) {
      v = v == 0 ? 0 : std::copysign(std::exp2(std::round(std::log2(std::fabs(v)))), v);
    }
    return x + (y - x).detach();
  }
  std::string describe() const override { return "PowerOfTwo"; }
  int bits() const override { return bits_; }
  int bits_;
};

struct TwiceTheMean final : Observer {
  using Observer::Observer;
  std::vector<Interval> ranges(const Target&) const override { return {{0, 2 * mean_}}; }
  void add(const Tensor& x, const std::vector<Interval>&) override { mean_ = mean(x).item(); }
  float mean_ = 0;
};

void register_ours() {
  static const bool once = [] {
    add_quantizer({.name = "power-of-two",
                   .summary = "signs and exponents",
                   .max_bits = 8,
                   .no_activations = "it is about weights",
                   .make = [](const QuantizerSpec& s, const Site&) { return PowerOfTwo(s.bits); }});
    add_observer(
        {.name = "twice-the-mean", .summary = "twice the mean", .make = [](const ObserverSetup& s) {
           return std::make_shared<TwiceTheMean>(s);
         }});
    return true;
  }();
  CHECK(once);
}

TEST_CASE("registry: names are sorted and all there") {
  std::vector<std::string> names;
  for (const QuantizerInfo& q : quantizers()) names.push_back(q.name);
  CHECK(std::is_sorted(names.begin(), names.end()));
  for (const char* name :
       {"adaround", "binary", "dorefa", "iao", "lsq", "lsq+", "pact", "ternary", "uniform"}) {
    CHECK(std::count(names.begin(), names.end(), name) == 1);
  }
  for (const char* name : {"aciq", "kl", "minmax", "moving_average", "mse", "percentile"}) {
    CHECK(find_observer(name).name == name);
  }
  CHECK(contains(message_of([] { find_quantizer("lqs"); }), "Did you mean lsq"));
  CHECK(contains(message_of([] { find_observer("entropy"); }), "known are aciq, kl"));
}

TEST_CASE("registry: a quantizer from outside is used by its name") {
  register_ours();
  nn::Layer model = nn::Sequential({nn::Conv2d({.in = 2, .out = 3, .kernel = 1, .bias = false})});
  const LayerInfo info = layers(model)[0];
  Tensor(info.weight())
      .copy_(Tensor::of(std::vector<float>{3, -5, 0, 1, 0.3f, 6.1f}, {3, 1, 1, 2}));
  const Report report = apply(model, parse_scheme("W=power-of-two:4,keep=none"));
  CHECK(report.rows[0].weight == "PowerOfTwo");
  CHECK(report.rows[0].bits == 24);
  const Tensor y = model(Tensor::of(std::vector<float>{1, 0}, {1, 1, 1, 2}));
  CHECK(y.reshape({3}) == Tensor::of({4, 0, 0.25f}));
  CHECK(contains(message_of([] { parse_scheme("A=power-of-two:4"); }), "about weights"));
  CHECK(contains(message_of([] { parse_scheme("W=power-of-two:9"); }), "2 to 8 bits"));
  CHECK(contains(message_of([] { parse_scheme("W=power-of-two:4,per=channel"); }), "no effect"));
  CHECK(contains(scheme_help(), "signs and exponents"));
  CHECK(contains(message_of([] {
                   add_quantizer(
                       {.name = "lsq",
                        .summary = "",
                        .make = [](const QuantizerSpec&, const Site&) -> nn::Layer { return {}; }});
                 }),
                 "already"));
  CHECK(contains(message_of([] { add_quantizer({.name = "nothing", .summary = ""}); }), "make()"));
}

TEST_CASE("registry: an observer from outside is used by its name") {
  register_ours();
  nn::Layer q = make_quantizer(
      parse_quantizer("uniform:2", Role::activation, {{"observer", "twice-the-mean"}}), {});
  q.as<Quantizer>()->observe(Tensor::of({1, 2, 3}));
  q.as<Quantizer>()->settle();
  CHECK(q.as<GridQuantizer>()->parameters()[0].scale == doctest::Approx(4.0 / 3));
}

TEST_CASE("options: typing errors are met with the nearest word") {
  const std::vector<std::string> names = {"scheme", "observer", "rounding", "per"};
  CHECK(nearest("observr", names) == "observer");
  CHECK(nearest("roundingg", names) == "rounding");
  CHECK(nearest("colour", names).empty());
  CHECK(nearest("pre", names) == "per");
  CHECK(did_you_mean("xyz", names).empty());
}

TEST_CASE("attach: parts by name, per layer") {
  nn::Layer model = nn::Sequential(
      {nn::Conv2d({.in = 3, .out = 4}), nn::ReLU(), nn::Conv2d({.in = 4, .out = 5})});
  attach(model, [](const LayerInfo& layer) -> Spec {
    if (layer.first()) return {.weight = weights("uniform:8", layer)};
    return {.weight = weights("lsq:4", layer, {{"per", "channel"}}),
            .input = inputs("uniform:4", layer, {{"per", "channel"}})};
  });
  const std::vector<LayerInfo> all = layers(model);
  CHECK(all[0].conv->weight_fn->describe() == "uniform(8 bits, symmetric, per filter)");
  CHECK_FALSE(all[0].conv->input_fn);
  CHECK(all[1].conv->weight_fn.as<GridQuantizer>()->groups == 5);
  CHECK(all[1].conv->input_fn.as<GridQuantizer>()->groups == 4);
}

}  // namespace
}  // namespace pare
