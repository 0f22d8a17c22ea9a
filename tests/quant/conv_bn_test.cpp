#include "quant/conv_bn.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "models/models.h"
#include "nn/init.h"
#include "nn/state.h"
#include "quant/calibrate.h"
#include "quant/grid_quantizer.h"
#include "quant/scheme.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using namespace quant;
using test::close, test::contains, test::message_of;

Tensor normal(const Shape& shape, uint64_t seed) {
  Rng rng(seed);
  return Tensor::normal(shape, rng);
}

/// conv, bn, relu, conv, bn; statistics that are not the usual ones.
nn::Layer chain() {
  nn::Layer model = nn::Sequential(
      {nn::Conv2d({.in = 3, .out = 6, .pad = 1}), nn::BatchNorm2d(6), nn::ReLU(),
       nn::Conv2d({.in = 6, .out = 5, .stride = 2, .bias = false}), nn::BatchNorm2d(5)});
  Rng rng(1);
  for (nn::NamedTensor& p : nn::parameters(model)) p.tensor.uniform_(rng, -0.5f, 0.7f);
  for (nn::NamedTensor& b : nn::buffers(model)) b.tensor.uniform_(rng, 0.3f, 1.5f);
  return model;
}

/// Under the names of the plain chain: "1.conv.weight" -> "1.weight", "1.norm.bias" -> "2.bias".
std::string plain_name(std::string name) {
  if (const size_t at = name.find(".conv."); at != std::string::npos) return name.erase(at, 5);
  if (const size_t at = name.find(".norm."); at != std::string::npos) {
    return std::to_string(std::stoi(name) + 1) + name.substr(at + 5);
  }
  return name;
}

TEST_CASE("fused batch norm computes what batch norm does: values, gradients, statistics, modes") {
  const Tensor x = normal({4, 9, 9, 3}, 2), dy = normal({4, 4, 4, 5}, 3);
  for (const BnFusion fusion : {BnFusion::batch, BnFusion::corrected}) {
    nn::Layer plain = chain(), fused = chain();
    CHECK(fuse_bn(fused, x, fusion).size() == 2);
    for (const bool training : {true, false}) {
      CAPTURE(training);
      nn::set_training(plain, training);
      nn::set_training(fused, training);
      const Tensor y = plain(x), z = fused(x);
      CHECK(close(z, y, {.relative = 2e-5}));
      y.backward(dy);
      z.backward(dy);
      std::map<std::string, Tensor> want, got;
      for (const nn::NamedTensor& p : nn::parameters(plain)) want[p.name] = p.tensor.grad();
      for (const nn::NamedTensor& p : nn::parameters(fused))
        got[plain_name(p.name)] = p.tensor.grad();
      REQUIRE(got.size() == want.size());
      for (const auto& entry : want) {
        CAPTURE(entry.first);
        // The bias in front of a batch norm has no gradient but rounding errors.
        const bool in_vain = training && entry.first == "0.bias";
        CHECK(close(got.at(entry.first), entry.second,
                    {.absolute = in_vain ? 1e-3 : 1e-5, .relative = 2e-4}));
      }
      for (const nn::NamedTensor& b : nn::buffers(fused)) {
        const std::string name = plain_name(b.name);
        CAPTURE(name);
        CHECK(close(b.tensor, nn::state_dict(plain).at(name), {.relative = 1e-5}));
      }
    }
  }
}

TEST_CASE("settle_bn: a plain convolution with the same values") {
  const Tensor x = normal({2, 9, 9, 3}, 4);
  nn::Layer model = chain();
  apply(model, parse_scheme("iao:W4A8,keep=none,bn=fused"), x);
  calibrate(model, {x});
  model(x);
  nn::set_training(model, false);
  const Tensor want = model(x);
  settle_bn(model);
  int layers_left = 0;
  nn::for_each_layer(model, [&](const std::string&, nn::Layer& layer) {
    CHECK_FALSE(layer.as<ConvBn>());
    layers_left += layer.as<nn::Conv2d>() != nullptr;
  });
  CHECK(layers_left == 2);
  CHECK(close(model(x), want, {.relative = 1e-5}));
}

TEST_CASE("calibration sees the folded weight") {
  nn::Layer model = chain();
  const Tensor x = normal({2, 9, 9, 3}, 5);
  apply(model, parse_scheme("uniform:W8A32,keep=none,bn=corrected"), x);
  calibrate(model, {x});
  nn::for_each_layer(model, [&](const std::string&, nn::Layer& layer) {
    const auto* both = layer.as<ConvBn>();
    if (!both) return;
    const Tensor w = both->folded_weight();
    const auto p = both->conv.as<nn::Conv2d>()->weight_fn.as<GridQuantizer>()->parameters();
    const Tensor first = abs(slice(w, 0, 0, 1));
    CHECK(p[0].scale == doctest::Approx(2 * max(first).item() / 255));
  });
}

TEST_CASE("fused training: constant channels, a single image of one pixel, and residual models") {
  for (const std::string bn : {"fused", "corrected"}) {
    CAPTURE(bn);
    nn::Layer model = chain();
    apply(model, parse_scheme("iao:W8A8,keep=none,bn=" + bn), normal({1, 9, 9, 3}, 6));
    for (const Tensor& x : {Tensor::zeros({2, 9, 9, 3}), normal({1, 3, 3, 3}, 7) * 1e3f}) {
      const Tensor y = model(x);
      y.backward(Tensor::ones(y.shape()));
      for (const float v : y.span()) CHECK(std::isfinite(v));
      for (const nn::NamedTensor& p : nn::parameters(model)) {
        for (const float v : p.tensor.grad().span()) REQUIRE(std::isfinite(v));
      }
    }
    models::Options o;
    o.widths = {4, 8, 8};
    nn::Layer resnet = models::make("resnet20", o);
    Rng rng(8);
    nn::init(resnet, rng, models::init_options("resnet20"));
    apply(resnet, parse_scheme("lsq:W4A4,keep=none,bn=" + bn), Tensor::zeros({1, 32, 32, 3}));
    int fused = 0, norms = 0;
    nn::for_each_layer(resnet, [&](const std::string& path, nn::Layer& layer) {
      fused += layer.as<ConvBn>() != nullptr;
      norms += layer.as<nn::BatchNorm2d>() != nullptr && path.find(".norm") == std::string::npos;
    });
    CHECK(fused == 21);
    CHECK(norms == 0);
    cross_entropy(resnet(normal({2, 32, 32, 3}, 9)), Tensor::of({1, 2})).backward();
    for (const nn::NamedTensor& p : nn::parameters(resnet)) REQUIRE(p.tensor.grad());
  }
  nn::Layer model = chain();
  CHECK(contains(message_of([&] { apply(model, parse_scheme("W=lsq:4,bn=fused")); }), "example"));
}

TEST_CASE("freeze_norms: running statistics are used and kept while training") {
  const Tensor x = normal({4, 9, 9, 3}, 10);
  for (const std::string bn : {"apart", "fused"}) {
    CAPTURE(bn);
    nn::Layer model = chain();
    apply(model, parse_scheme("W=uniform:8,keep=none,bn=" + bn), x);
    calibrate(model, {x});
    nn::set_training(model, false);
    const Tensor want = model(x);
    freeze_norms(model);
    nn::set_training(model, true);
    const auto before = nn::state_dict(model);
    std::map<std::string, Tensor> kept;
    for (const auto& entry : before) kept[entry.first] = entry.second.clone();
    CHECK(close(model(x), want, {.relative = 1e-5}));
    for (const auto& entry : kept) CHECK(nn::state_dict(model).at(entry.first) == entry.second);
  }
}

}  // namespace
}  // namespace pare
