#include "quant/reconstruct.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "nn/state.h"
#include "quant/adaround.h"
#include "quant/attach.h"
#include "quant/calibrate.h"
#include "quant/scheme.h"
#include "tests/nn/odd_net.h"
#include "tests/support/message.h"

using namespace pare;
using quant::AdaRound, quant::ReconstructOptions, quant::ReconstructReport;
using test::contains, test::message_of, test::OddNet, test::Parts;

namespace {

/// Images whose neighbouring pixels and channels resemble each other: only then can one rounding
/// make up for another.
std::vector<Tensor> images(int64_t batches = 2) {
  Rng rng(4);
  std::vector<Tensor> all;
  for (int64_t b = 0; b < batches; ++b) {
    Tensor x = Tensor::normal({8, 6, 6, 3}, rng, 0.5f);
    for (int64_t i = 1; i < x.numel(); ++i) x.data()[i] = 0.8f * x.data()[i - 1] + x.data()[i];
    all.push_back(x);
  }
  return all;
}

nn::Layer net() {
  nn::Layer model = nn::Sequential(
      {nn::Conv2d({.in = 3, .out = 8, .kernel = 3, .pad = 1}), nn::ReLU(),
       nn::Conv2d({.in = 8, .out = 8, .kernel = 3, .pad = 1, .groups = 2}), nn::ReLU(),
       nn::GlobalAvgPool2d(), nn::Flatten(), nn::Linear({.in = 8, .out = 5})});
  Rng rng(1);
  nn::init(model, rng, {.zero_bias = false});
  return model;
}

nn::Layer quantized(const nn::Layer& original, const std::string& scheme) {
  nn::Layer model = original;
  quant::apply(model, quant::parse_scheme(scheme));
  quant::calibrate(model, images());
  return model;
}

Tensor eval(nn::Layer& model, const Tensor& x) {
  const nn::EvalMode mode(model);
  const NoGrad guard;
  return model(x);
}

double distance(nn::Layer& a, nn::Layer& b) {
  double sum = 0;
  for (const Tensor& x : images()) sum += mse_loss(eval(a, x), eval(b, x)).item();
  return sum;
}

const std::string kScheme = "W=adaround:3,A=uniform:8,keep=none";
const ReconstructOptions kQuick{.iterations = 400, .batch = 8};

}  // namespace

TEST_CASE("reconstruct: every layer, and the whole, comes nearer to the float one") {
  nn::Layer original = net(), model = quantized(original, kScheme);
  const double nearest = distance(original, model);
  std::vector<std::string> seen;
  int64_t calls = 0;
  const ReconstructReport report =
      quant::reconstruct(model, original, images(), kQuick, [&](const quant::ReconstructMoment& m) {
        if (m.iteration == 1) seen.push_back(m.path);
        CHECK(m.layers == 3);
        CHECK(std::isfinite(m.loss));
        ++calls;
      });
  CAPTURE(str(report));
  CHECK(seen == std::vector<std::string>{"0", "2", "6"});
  CHECK(calls == 3 * kQuick.iterations);
  REQUIRE(report.rows.size() == 3);
  for (const ReconstructReport::Row& row : report.rows) {
    CHECK(row.learned < 0.8 * row.nearest);
    CHECK(row.moved > 0);
    CHECK(row.moved < row.weights / 2);
    CHECK(row.images == 16);
  }
  CHECK(report.rows[0].relu);
  CHECK_FALSE(report.rows[2].relu);
  CHECK(distance(original, model) < 0.5 * nearest);
  CHECK(contains(str(report), "not to nearest"));
  CHECK(model->training);
}

TEST_CASE("reconstruct: weights end on a neighbouring code, and nothing else changes") {
  nn::Layer original = net(), model = quantized(original, kScheme);
  const nn::Layer copy = model;
  const auto before = nn::state_dict(copy);
  quant::reconstruct(model, original, images(), kQuick);
  for (const auto& entry : nn::state_dict(model)) {
    CAPTURE(entry.first);
    CHECK((entry.second == before.at(entry.first)) == !contains(entry.first, ".round"));
  }
  for (const quant::LayerInfo& info : quant::layers(model)) {
    nn::Layer& socket = info.conv ? const_cast<nn::Conv2d*>(info.conv)->weight_fn
                                  : const_cast<nn::Linear*>(info.linear)->weight_fn;
    auto* q = socket.as<AdaRound>();
    REQUIRE(q);
    CHECK(q->round.requires_grad());
    CHECK_FALSE(q->round.grad());
    const nn::EvalMode mode(socket);
    const NoGrad guard;
    const Tensor w = info.weight(), y = socket(w);
    const int64_t each = w.numel() / w.dim(0);
    for (int64_t i = 0; i < w.numel(); ++i) {
      const float s = q->scale.data()[i / each], code = y.data()[i] / s;
      REQUIRE(std::fabs(code - std::round(code)) < 1e-5f);
      REQUIRE(code >= -4 - 1e-5f);
      REQUIRE(code <= 3 + 1e-5f);
      const bool clamped = code > 3 - 1e-5f;
      REQUIRE((clamped || std::fabs(w.data()[i] / s - code) < 1 + 1e-5f));
    }
  }
}

TEST_CASE("reconstruct: few images, one image, float inputs, no relu") {
  nn::Layer original = net();
  for (const bool quantized_inputs : {true, false}) {
    ReconstructOptions o = kQuick;
    o.quantized_inputs = quantized_inputs;
    o.relu = false;
    o.iterations = 60;
    o.max_bytes = 3 * 4 * (6 * 6 * 3 + 6 * 6 * 8) + 1;  // three images at the first layer
    nn::Layer model = quantized(original, kScheme);
    ReconstructReport report = quant::reconstruct(model, original, images(), o);
    CHECK(report.rows[0].images == 3);
    CHECK(report.rows[2].images == 16);
    CHECK_FALSE(report.rows[0].relu);
    for (const ReconstructReport::Row& row : report.rows) CHECK(row.learned < row.nearest);
    o.max_bytes = 1;
    report = quant::reconstruct(model, original, images(), o);
    for (const ReconstructReport::Row& row : report.rows) CHECK(row.images == 1);
  }
}

TEST_CASE("reconstruct: what does not help is not kept") {
  nn::Layer original = net(), model = quantized(original, kScheme);
  // Steps that large throw roundings about.
  const ReconstructReport report =
      quant::reconstruct(model, original, images(),
                         {.iterations = 3, .batch = 1, .lr = 10.0f, .lambda = 1e6f, .warmup = 0});
  for (const ReconstructReport::Row& row : report.rows) CHECK(row.learned <= row.nearest);
}

TEST_CASE("reconstruct: the same bits with 1 and 3 threads") {
  nn::Layer original = net();
  const auto learned = [&](int threads) {
    set_num_threads(threads);
    nn::Layer model = quantized(original, kScheme);
    quant::reconstruct(model, original, images(), {.iterations = 20, .batch = 8});
    set_num_threads(0);
    return nn::state_dict(model);
  };
  const auto one = learned(1), three = learned(3);
  for (const auto& entry : one) {
    CAPTURE(entry.first);
    CHECK(entry.second == three.at(entry.first));
  }
}

TEST_CASE("reconstruct: what it cannot do is refused") {
  nn::Layer original = net();
  const auto refused = [&](const std::string& scheme, const ReconstructOptions& o = {}) {
    nn::Layer model = quantized(original, scheme);
    return message_of([&] { quant::reconstruct(model, original, images(), o); });
  };
  CHECK(contains(refused("uniform:W4A8"), "no layer has weights that learn their rounding"));
  CHECK(contains(refused(kScheme, {.iterations = 0}), "must be positive"));
  CHECK(contains(refused(kScheme, {.warmup = 1}), "warmup must be in [0, 1)"));
  CHECK(contains(refused(kScheme, {.lr = 0}), "lr must be positive"));
  nn::Layer model = quantized(original, kScheme);
  CHECK(contains(message_of([&] { quant::reconstruct(model, original, {}); }), "no images"));
  nn::Layer fresh = original;
  quant::apply(fresh, quant::parse_scheme(kScheme));
  CHECK(contains(message_of([&] { quant::reconstruct(fresh, original, images()); }),
                 "0 has no scales yet"));
  nn::Layer other = nn::Sequential({nn::Flatten(), nn::Linear({.in = 108, .out = 5})});
  CHECK(contains(message_of([&] { quant::reconstruct(model, other, images()); }),
                 "the float model computes no layer 0"));
  nn::Layer twice = OddNet({{"conv", nn::Conv2d({.in = 3, .out = 3, .pad = 1})}},
                           [](const Parts& p, const Tensor& x) { return p["conv"](p["conv"](x)); });
  nn::Layer both = quantized(twice, kScheme);
  CHECK(contains(message_of([&] { quant::reconstruct(both, twice, images()); }),
                 "conv is used twice"));
}
