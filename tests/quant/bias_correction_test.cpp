#include "quant/bias_correction.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/ops.h"
#include "nn/init.h"
#include "nn/layer_changes.h"
#include "nn/layers.h"
#include "quant/attach.h"
#include "quant/calibrate.h"
#include "quant/scheme.h"
#include "tests/nn/odd_net.h"
#include "tests/support/message.h"

using namespace pare;
using quant::BiasReport, quant::correct_bias;
using test::contains, test::message_of, test::OddNet, test::Parts;

namespace {

std::vector<Tensor> images() {
  Rng rng(4);
  return {Tensor::normal({5, 6, 6, 3}, rng, 0.5f), Tensor::normal({3, 6, 6, 3}, rng, 0.5f)};
}

nn::Layer net(bool bias = false) {
  nn::Layer model = nn::Sequential(
      {nn::Conv2d({.in = 3, .out = 8, .pad = 1, .bias = bias}), nn::ReLU(),
       nn::Conv2d({.in = 8, .out = 8, .pad = 1, .groups = 8}), nn::BatchNorm2d(8), nn::ReLU(),
       nn::GlobalAvgPool2d(), nn::Flatten(), nn::Linear({.in = 8, .out = 5, .bias = bias})});
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

/// Mean of each output over all images.
std::vector<double> means(nn::Layer& model) {
  const nn::EvalMode mode(model);
  const NoGrad guard;
  std::vector<double> sum(5);
  for (const Tensor& x : images()) {
    const Tensor y = model(x);
    for (int64_t i = 0; i < y.numel(); ++i) sum[static_cast<size_t>(i % 5)] += y.data()[i] / 8.0;
  }
  return sum;
}

}  // namespace

TEST_CASE("bias correction: the mean of every output is the float model's again") {
  for (const bool bias : {false, true}) {
    nn::Layer original = net(bias), model = quantized(original, "uniform:W2A4,keep=none");
    const std::vector<double> want = means(original), before = means(model);
    const BiasReport report = correct_bias(model, original, images());
    CAPTURE(str(report));
    REQUIRE(report.rows.size() == 3);
    CHECK(report.rows[0].path == "0");
    CHECK(report.rows[2].path == "7");
    CHECK(report.rows[0].new_bias == !bias);
    CHECK_FALSE(report.rows[1].new_bias);
    const std::vector<double> after = means(model);
    double was = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      was = std::max(was, std::fabs(before[i] - want[i]));
      // Sums of float32 outputs of size 1.
      CHECK(std::fabs(after[i] - want[i]) < 1e-5);
    }
    CHECK(was > 1e-2);
    // What was taken back is the shift that there was, and there is none left.
    for (const BiasReport::Row& row : correct_bias(model, original, images()).rows) {
      CHECK(row.shift < 1e-5);
      CHECK_FALSE(row.new_bias);
    }
    CHECK(contains(str(report), bias ? "changed" : "new"));
  }
}

TEST_CASE("bias correction: only quantized layers change, and a new bias is told to checkpoints") {
  nn::Layer original = net(), model = quantized(original, "W=uniform:2,A=float,keep=first+last");
  const BiasReport report = correct_bias(model, original, images());
  REQUIRE(report.rows.size() == 1);
  CHECK(report.rows[0].path == "2");
  CHECK(nn::layer_changes(original, model).empty());
  nn::Layer all = quantized(original, "W=uniform:2,A=float,keep=none");
  correct_bias(all, original, images());
  const nn::LayerChanges changes = nn::layer_changes(original, all);
  REQUIRE(changes.size() == 2);
  CHECK(changes.at("0").bias == true);
  CHECK(changes.at("7").bias == true);
}

TEST_CASE("bias correction: what it cannot do is refused") {
  nn::Layer original = net(), model = quantized(original, "uniform:W4A8");
  CHECK(contains(message_of([&] { correct_bias(model, original, {}); }), "no images"));
  CHECK(contains(message_of([&] { correct_bias(original, original, images()); }),
                 "no layer is quantized"));
  nn::Layer other = nn::Sequential({nn::Flatten(), nn::Linear({.in = 108, .out = 5})});
  CHECK(contains(message_of([&] { correct_bias(model, other, images()); }),
                 "the float model computes no layer 2"));
  nn::Layer twice = OddNet({{"conv", nn::Conv2d({.in = 3, .out = 3, .pad = 1})}},
                           [](const Parts& p, const Tensor& x) { return p["conv"](p["conv"](x)); });
  nn::Layer both = quantized(twice, "uniform:W4A8,keep=none");
  CHECK(contains(message_of([&] { correct_bias(both, twice, images()); }), "conv is used twice"));
}
