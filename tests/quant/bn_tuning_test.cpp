#include "quant/bn_tuning.h"

#include <doctest/doctest.h>

#include <cmath>
#include <utility>

#include "core/autograd.h"
#include "core/ops.h"
#include "models/models.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "quant/attach.h"
#include "quant/calibrate.h"
#include "quant/grid_quantizer.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using namespace quant;
using test::contains, test::message_of;

Tensor images(uint64_t seed, int64_t n = 4, int64_t side = 8) {
  Rng rng(seed);
  return Tensor::normal({n, side, side, 3}, rng);
}

/// Convolution with bias and batch norm, twice; gamma of both signs and, once, zero.
nn::Layer net() {
  const auto conv = [](int64_t in, int64_t out) {
    return nn::Conv2d({.in = in, .out = out, .kernel = 3, .pad = 1});
  };
  nn::Layer model =
      nn::Sequential({conv(3, 6), nn::BatchNorm2d(6), nn::ReLU(), conv(6, 6), nn::BatchNorm2d(6)});
  Rng rng(1);
  nn::init(model, rng);
  nn::for_each_layer(model, [&](const std::string&, nn::Layer& layer) {
    if (auto* c = layer.as<nn::Conv2d>()) c->bias.uniform_(rng, -0.5f, 0.5f);
    auto* bn = layer.as<nn::BatchNorm2d>();
    if (!bn) return;
    bn->weight.uniform_(rng, 0.5f, 1.5f);
    bn->weight.data()[1] *= -1, bn->weight.data()[4] = 0;
    bn->bias.uniform_(rng, -0.5f, 0.5f);
    bn->running_mean.uniform_(rng, -0.5f, 0.5f);
    bn->running_var.uniform_(rng, 0.5f, 2.0f);
  });
  return model;
}

void quantize(nn::Layer& model, const std::string& weight, const Options& options = {}) {
  attach(model, [&](const LayerInfo& info) -> Spec {
    return {.weight = weights(weight, info, options), .input = inputs("uniform:8", info)};
  });
  calibrate(model, {images(2)});
}

Tensor output(nn::Layer& model, const Tensor& x) {
  const nn::EvalMode eval(model);
  const NoGrad guard;
  return model(x);
}

float gap(const Tensor& a, const Tensor& b) {
  float difference = 0, size = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    difference = std::max(difference, std::fabs(a.data()[i] - b.data()[i]));
    size = std::max(size, std::fabs(a.data()[i]));
  }
  return difference / size;
}

const nn::BatchNorm2d& norm_at(nn::Layer& model, size_t i) {
  return *model.as<nn::Sequential>()->layers[i].as<nn::BatchNorm2d>();
}

/// Mean and variance of what the first convolution computes, over batches.
std::pair<Tensor, Tensor> statistics(nn::Layer& model, const std::vector<Tensor>& batches,
                                     bool quantized) {
  const nn::EvalMode eval(model);
  const NoGrad guard;
  const auto& conv = *model.as<nn::Sequential>()->layers[0].as<nn::Conv2d>();
  Tensor mean = Tensor::zeros({6}), var = Tensor::zeros({6});
  const auto share = 1 / static_cast<float>(batches.size());
  for (const Tensor& x : batches) {
    const Tensor y = quantized ? model.as<nn::Sequential>()->layers[0](x)
                               : conv2d(x, conv.weight, conv.bias, {.pad = 1});
    mean = mean + pare::mean(y, {0, 1, 2}, false) * share;
    var = var + pare::var(y, {0, 1, 2}, false, /*correction=*/1) * share;
  }
  return {mean, var};
}

TEST_CASE("tune_bn: statistics move as far as quantization moves those of the batches") {
  nn::Layer model = net();
  quantize(model, "uniform:3");
  const std::vector<Tensor> batches = {images(5), images(6), images(7)};
  const auto with = statistics(model, batches, true), without = statistics(model, batches, false);
  const Tensor mean = norm_at(model, 1).running_mean.clone(),
               var = norm_at(model, 1).running_var.clone();
  tune_bn(model, batches);
  const nn::BatchNorm2d& bn = norm_at(model, 1);
  for (int64_t c = 0; c < 6; ++c) {
    const float shift = with.first.data()[c] - without.first.data()[c];
    CHECK(bn.running_mean.data()[c] == doctest::Approx(mean.data()[c] + shift).epsilon(1e-4));
    const float ratio = with.second.data()[c] / without.second.data()[c];
    CHECK(bn.running_var.data()[c] == doctest::Approx(var.data()[c] * ratio).epsilon(1e-3));
  }
  set_mode(model, Quantizer::Mode::off);  // then there is nothing to follow
  const Tensor same = norm_at(model, 4).running_mean.clone();
  tune_bn(model, batches);
  CHECK(gap(same, norm_at(model, 4).running_mean) < 1e-6f);
}

TEST_CASE("tune_bn: anew, they are the mean over the batches of what quantized layers compute") {
  nn::Layer model = net();
  quantize(model, "uniform:3");
  const std::vector<Tensor> batches = {images(5), images(6), images(7)};
  const auto [mean, var] = statistics(model, batches, true);
  const BnTuningReport report = tune_bn(model, batches, {.anew = true});
  REQUIRE(report.rows.size() == 2);
  CHECK(report.rows[0].path == "1");
  CHECK(report.rows[0].mean_shift > 0.01);
  const nn::BatchNorm2d& bn = norm_at(model, 1);
  for (int64_t c = 0; c < 6; ++c) {
    CHECK(bn.running_mean.data()[c] == doctest::Approx(mean.data()[c]).epsilon(1e-4));
    CHECK(bn.running_var.data()[c] == doctest::Approx(var.data()[c]).epsilon(1e-4));
  }
  CHECK(bn.opt.momentum == 0.1f);
  CHECK(bn.training);
  CHECK(model.as<nn::Sequential>()->layers[0].as<nn::Conv2d>()->weight.requires_grad());
}

TEST_CASE("tune_bn: with a momentum statistics follow from where they were") {
  nn::Layer model = net(), same = net();
  quantize(model, "uniform:4");
  quantize(same, "uniform:4");
  tune_bn(same, {images(5)}, {.anew = true});  // the batch's own
  const Tensor before = norm_at(model, 1).running_mean.clone();
  tune_bn(model, {images(5)}, {.anew = true, .momentum = 0.25f});
  for (int64_t c = 0; c < 6; ++c) {
    const float want = 0.75f * before.data()[c] + 0.25f * norm_at(same, 1).running_mean.data()[c];
    CHECK(norm_at(model, 1).running_mean.data()[c] == doctest::Approx(want).epsilon(1e-5));
  }
}

TEST_CASE("fold_bn_with_scales: quantized values and outputs stay what they were") {
  struct Case {
    std::string quantizer;
    Options options;
  };
  const std::vector<Case> cases = {
      {"uniform:3", {{"codes", "narrow"}}},
      {"uniform:4", {{"scheme", "affine"}}},
      {"uniform:8", {{"scheme", "affine"}}},
      {"lsq:16", {{"per", "channel"}}},  // finer than the code it lacks matters
      {"binary", {{"center", "off"}, {"clamp", "off"}}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.quantizer);
    nn::Layer model = net();
    quantize(model, c.quantizer, c.options);
    const Tensor x = images(9), before = output(model, x);
    const FoldReport report = fold_bn_with_scales(model, images(1, 1));
    CHECK(report.folded() == 2);
    CHECK(gap(before, output(model, x)) < 2e-4f);
    const auto& conv = *model.as<nn::Sequential>()->layers[0].as<nn::Conv2d>();
    CHECK(conv.weight_fn);
    if (const auto* q = conv.weight_fn.as<GridQuantizer>()) {
      for (const ScaleZero& p : q->parameters()) CHECK(p.scale > 0);
    }
  }
}

TEST_CASE("fold_bn_with_scales: only a code without an opposite, or a tie, moves: by one step") {
  nn::Layer model = net();
  quantize(model, "uniform:4");  // symmetric, -8..7
  auto& conv = *model.as<nn::Sequential>()->layers[0].as<nn::Conv2d>();
  const NoGrad guard;
  const nn::EvalMode eval(model);
  const Tensor before = conv.weight_fn(conv.weight).clone();
  const nn::BatchNorm2d bn = norm_at(model, 1);
  fold_bn_with_scales(model, images(1, 1));
  const Tensor after = conv.weight_fn(conv.weight);
  const auto scales = conv.weight_fn.as<GridQuantizer>()->parameters();
  const int64_t each = before.numel() / 6;
  for (int64_t i = 0; i < before.numel(); ++i) {
    const int64_t c = i / each;
    const float k = bn.weight.data()[c] / std::sqrt(bn.running_var.data()[c] + bn.opt.eps);
    const float off = std::fabs(after.data()[i] - k * before.data()[i]);
    const float step = scales[static_cast<size_t>(c)].scale;
    // The largest weight of a filter stands between two codes: 7.5.
    const float code = std::fabs(conv.weight.data()[i]) / step;
    const bool between = std::fabs(code - std::floor(code) - 0.5f) < 1e-4f;
    CHECK(off <= (k < 0 || between ? 1.001f * step : 1e-5f * step + 1e-7f));
  }
}

TEST_CASE("fold_bn_with_scales: what shares a scale or learns its rounding stays") {
  for (const char* quantizer : {"lsq:4", "adaround:4"}) {  // lsq: one step for the layer
    CAPTURE(quantizer);
    nn::Layer model = net();
    quantize(model, quantizer);
    const Tensor x = images(9), before = output(model, x);
    const FoldReport report = fold_bn_with_scales(model, images(1, 1));
    CHECK(report.folded() == 0);
    CHECK(gap(before, output(model, x)) == 0.0f);
    CHECK(contains(report.rows[0].stayed_because, "does not scale along"));
  }
}

TEST_CASE("tuned and folded: no NaN for constant images, one pixel or one image") {
  for (const int64_t side : {1, 8}) {
    nn::Layer model = net();
    quantize(model, "uniform:4");
    tune_bn(model, {Tensor::zeros({2, side, side, 3}), images(3, 2, side)});
    fold_bn_with_scales(model, images(1, 1));
    const Tensor y = output(model, images(3, 1, side));
    for (const float v : y.span()) CHECK(std::isfinite(v));
  }
}

TEST_CASE("tune_bn: what cannot be tuned is refused") {
  nn::Layer model = net(), plain = nn::Sequential({nn::ReLU()});
  CHECK(contains(message_of([&] { tune_bn(model, {}); }), "no images"));
  CHECK(contains(message_of([&] { tune_bn(plain, {images(1)}); }), "no batch norm"));
  CHECK(contains(message_of([&] { tune_bn(model, {images(1)}, {.anew = true, .momentum = 2}); }),
                 "momentum must be in"));
  CHECK(contains(message_of([&] { tune_bn(model, {images(1)}, {.momentum = 0.5f}); }), "anew"));
}

}  // namespace
}  // namespace pare
