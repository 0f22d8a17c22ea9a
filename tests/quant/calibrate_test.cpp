#include "quant/calibrate.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "models/models.h"
#include "nn/init.h"
#include "nn/state.h"
#include "quant/grid_quantizer.h"
#include "quant/scheme.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using namespace quant;
using test::contains, test::message_of;

Tensor images(uint64_t seed, int64_t n = 4) {
  Rng rng(seed);
  return Tensor::normal({n, 16, 16, 3}, rng);
}

nn::Layer small(const std::string& scheme) {
  models::Options o;
  o.widths = {4, 8, 8};
  o.image = {16, 16, 3};
  nn::Layer model = models::make("resnet20", o);
  Rng rng(1);
  nn::init(model, rng, models::init_options("resnet20"));
  apply(model, parse_scheme(scheme));
  return model;
}

/// The model as it is without its quantizers, in eval mode.
Tensor float_output(nn::Layer& model, const Tensor& x) {
  NoGrad guard;
  const nn::EvalMode eval(model);
  set_mode(model, Quantizer::Mode::off);
  const Tensor y = model(x);
  set_mode(model, Quantizer::Mode::quantize);
  return y;
}

Tensor output(nn::Layer& model, const Tensor& x) {
  NoGrad guard;
  const nn::EvalMode eval(model);
  return model(x);
}

double distance(const Tensor& a, const Tensor& b) {
  double gap = 0, size = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    gap += std::pow(double{a.data()[i]} - b.data()[i], 2);
    size += std::pow(double{b.data()[i]}, 2);
  }
  return std::sqrt(gap / size);
}

int64_t uncalibrated(nn::Layer& model) {
  int64_t count = 0;
  for (const nn::NamedTensor& b : nn::buffers(model)) {
    count += b.name.ends_with(".calibrated") && b.tensor.item() == 0;
  }
  return count;
}

TEST_CASE("calibrate: eight bits come close to float, four less so, and better than a guess") {
  const Tensor x = images(9);
  for (const std::string name : {"uniform", "lsq+", "iao"}) {
    CAPTURE(name);
    double before = 0;
    for (const int bits : {8, 4}) {
      nn::Layer model = small(str(name, ":W", bits, "A", bits, ",keep=none"));
      CHECK(wants_calibration(model));
      CHECK(uncalibrated(model) == 44);
      calibrate(model, {images(2), images(3)});
      CHECK(uncalibrated(model) == 0);
      const double off = distance(output(model, x), float_output(model, x));
      if (bits == 8) CHECK(off < 0.1);
      CHECK(off > before);
      before = off;
    }
  }
}

TEST_CASE("calibrate: activations are seen as the float model computes them") {
  nn::Layer model = small("uniform:W2A2,keep=none,scheme=symmetric");
  nn::Layer plain = small("float");
  const Tensor x = images(4);
  calibrate(model, {x});
  // The input of the classifier, by hand.
  Tensor seen;
  struct Watch final : nn::ForwardObserver {
    explicit Watch(Tensor& t) : seen(t) {}
    void after(nn::Module& m, const Tensor& in, const Tensor&) override {
      if (m.path == "linear") seen = in.clone();
    }
    Tensor& seen;
  };
  {
    const Watch watch(seen);
    output(plain, x);
  }
  float largest = 0;
  for (const float v : seen.span()) largest = std::max(largest, std::fabs(v));
  for (const LayerInfo& info : layers(model)) {
    if (info.path != "linear") continue;
    const auto p = info.linear->input_fn.as<GridQuantizer>()->parameters();
    CHECK(p[0].scale == doctest::Approx(2 * largest / 3));
  }
}

TEST_CASE("calibrate: modes, training flags and gradients are as before") {
  nn::Layer model = small("lsq:W4A4");
  calibrate(model, {images(5)});
  nn::for_each_layer(model, [](const std::string&, nn::Layer& layer) {
    CHECK(layer->training);
    if (const auto* q = layer.as<Quantizer>()) CHECK(q->mode == Quantizer::Mode::quantize);
  });
  for (const nn::NamedTensor& p : nn::parameters(model)) {
    CHECK(p.tensor.requires_grad());
    CHECK_FALSE(p.tensor.grad());
  }
  nn::Layer dorefa = small("wqaq:W4A4");
  CHECK_FALSE(wants_calibration(dorefa));
}

TEST_CASE("calibrate: the same images in other batches give the same ranges") {
  nn::Layer a = small("uniform:W4A4,keep=none,a_observer=percentile"), b = a;
  const Tensor x = images(6, 6);
  calibrate(a, {x});
  calibrate(b, {slice(x, 0, 0, 1), slice(x, 0, 1, 4), slice(x, 0, 4, 6)});
  for (const auto& entry : nn::state_dict(a)) {
    const std::string& name = entry.first;
    const Tensor& tensor = entry.second;
    CAPTURE(name);
    // The last bit of a convolution may depend on the batch.
    const Tensor other = nn::state_dict(b).at(name);
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      CHECK(other.data()[i] == doctest::Approx(tensor.data()[i]).epsilon(1e-5));
    }
  }
}

TEST_CASE("calibrate: takes as many images of a source as were asked for") {
  struct Source final : BatchSource {
    int64_t samples() const override { return 10; }
    int64_t batches() const override { return 3; }
    int64_t classes() const override { return 10; }
    Shape image_shape() const override { return {16, 16, 3}; }
    void start(int64_t, int64_t) override { given = 0; }
    std::optional<Batch> next() override {
      if (given == 3) return {};
      return Batch{images(static_cast<uint64_t>(20 + given++)), Tensor::zeros({4})};
    }
    int given = 0;
  } source;
  nn::Layer a = small("uniform:W4A4"), b = a, c = a, d = a;
  calibrate(a, source, 6);
  calibrate(b, {images(20), slice(images(21), 0, 0, 2)});
  CHECK(nn::state_dict(a) == nn::state_dict(b));
  calibrate(c, source, 100);  // all there are
  calibrate(d, {images(20), images(21), images(22)});
  CHECK(nn::state_dict(c) == nn::state_dict(d));
  CHECK(contains(message_of([&] { calibrate(a, {}); }), "no images"));
}

TEST_CASE("training calibrates what was not, once") {
  nn::Layer model = small("lsq:W4A4,keep=none");
  model(images(7));
  CHECK(uncalibrated(model) == 0);
  const auto before = nn::state_dict(model);
  const Tensor step = before.at("conv1.input_fn.step").clone();
  model(images(8) * 5.0f);
  CHECK(nn::state_dict(model).at("conv1.input_fn.step") == step);
}

TEST_CASE("param_groups: what quantizers learn is a group of its own") {
  nn::Layer model = small("lsq:W4A4");
  const auto groups = param_groups(model, {.weight_decay = 0.1f,
                                           .decay_norm_and_bias = false,
                                           .quant_weight_decay = 0.5f,
                                           .quant_lr_scale = 0.25f});
  REQUIRE(groups.size() == 3);
  CHECK(groups[0].weight_decay == 0.1f);
  CHECK(groups[1].weight_decay == 0);
  CHECK(groups[2].weight_decay == 0.5f);
  CHECK(groups[2].lr_scale == 0.25f);
  CHECK(groups[2].params.size() == 40);  // two steps of 20 layers
  size_t all = 0;
  for (const nn::ParamGroup& g : groups) {
    all += g.params.size();
    for (const nn::NamedTensor& p : g.params) {
      CHECK((&g == &groups[2]) == p.name.ends_with(".step"));
    }
  }
  CHECK(all == nn::parameters(model).size());
  nn::Layer plain = small("float");
  CHECK(param_groups(plain, {.weight_decay = 0.1f}).size() == 1);
}

TEST_CASE("freeze_ranges: weights go on learning, steps and ranges do not") {
  for (const std::string scheme : {"lsq:W4A4", "iao:W8A8"}) {
    CAPTURE(scheme);
    nn::Layer model = small(scheme);
    calibrate(model, {images(10)});
    freeze_ranges(model);
    const auto before = nn::state_dict(model);
    std::map<std::string, Tensor> kept;
    for (const auto& [name, t] : before) {
      if (name.find("_fn.") != std::string::npos) kept[name] = t.clone();
    }
    cross_entropy(model(images(11) * 3.0f), Tensor::of({1, 2, 3, 4})).backward();
    for (const auto& [name, t] : kept) CHECK(nn::state_dict(model).at(name) == t);
    for (const nn::NamedTensor& p : nn::parameters(model)) {
      CHECK(static_cast<bool>(p.tensor.grad()) == (p.name.find("_fn.") == std::string::npos));
    }
  }
}

}  // namespace
}  // namespace pare
