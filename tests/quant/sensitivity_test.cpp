#include "quant/sensitivity.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/ops.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "nn/metrics.h"
#include "nn/state.h"
#include "quant/attach.h"
#include "quant/calibrate.h"
#include "tests/support/message.h"

using namespace pare;
using quant::parse_scheme, quant::Sensitivity, quant::sensitivity;
using test::contains, test::message_of;

namespace {

std::vector<Batch> batches() {
  Rng rng(4);
  return {{Tensor::normal({5, 6, 6, 3}, rng), Tensor::of({0, 1, 2, 3, 4})},
          {Tensor::normal({3, 6, 6, 3}, rng), Tensor::of({1, 1, 4})}};
}

nn::Layer net() {
  nn::Layer model = nn::Sequential({nn::Conv2d({.in = 3, .out = 4, .pad = 1}), nn::ReLU(),
                                    nn::Conv2d({.in = 4, .out = 6, .pad = 1, .bias = false}),
                                    nn::BatchNorm2d(6), nn::ReLU(), nn::GlobalAvgPool2d(),
                                    nn::Flatten(), nn::Linear({.in = 6, .out = 5})});
  Rng rng(1);
  nn::init(model, rng, {.zero_bias = false});
  return model;
}

double loss(nn::Layer& model) {
  const nn::EvalMode mode(model);
  const NoGrad guard;
  nn::Score s;
  for (const Batch& b : batches()) {
    const Tensor z = model(b.x);
    s.add(z, b.y, cross_entropy(z, b.y).item());
  }
  return s.loss();
}

/// With the scheme, calibrated.
double loss_with(const std::string& scheme) {
  nn::Layer model = net();
  quant::apply(model, parse_scheme(scheme));
  std::vector<Tensor> images;
  for (const Batch& b : batches()) images.push_back(b.x);
  quant::calibrate(model, images);
  return loss(model);
}

/// The diagonal of the Hessian, one weight at a time, summed.
double trace_of(nn::Layer& model, Tensor w, const std::vector<Batch>& data) {
  constexpr float kStep = 1e-3f;  // small: hardly a ReLU changes sides
  const auto gradient = [&](int64_t i) {
    w.zero_grad();
    for (const Batch& b : data) {
      (cross_entropy(model(b.x), b.y) * (static_cast<float>(b.x.dim(0)) / 8)).backward();
    }
    return double{w.grad().data()[i]};
  };
  const nn::EvalMode mode(model);
  double sum = 0;
  for (int64_t i = 0; i < w.numel(); ++i) {
    const float start = w.data()[i];
    w.data()[i] = start + kStep;
    const double up = gradient(i);
    w.data()[i] = start - kStep;
    sum += (up - gradient(i)) / (2 * kStep);
    w.data()[i] = start;
  }
  return sum;
}

}  // namespace

TEST_CASE("sensitivity: one layer at a time, everything else float") {
  nn::Layer model = net();
  const double base = loss(model);
  int64_t calls = 0;
  const Sensitivity s = sensitivity(model, parse_scheme("uniform:W8A8,keep=first"), batches(),
                                    {.bits = {4, 2, 4}, .probes = 1}, [&](const auto& m) {
                                      CHECK(m.done == ++calls);
                                      CHECK(m.steps == 2 * 2 * 2 + 1);
                                    });
  CHECK(calls == 9);
  CHECK(s.loss == base);
  CHECK(s.images == 8);
  CHECK(s.scheme == "W=uniform:8,A=uniform:8,keep=first");
  REQUIRE(s.layers.size() == 2);
  const Sensitivity::Layer& conv = s.layers[0];
  CHECK(conv.path == "2");
  CHECK(conv.weights == 4 * 6 * 9);
  CHECK(conv.macs == 36 * 4 * 6 * 9);
  REQUIRE(conv.weight.size() == 2);
  CHECK(conv.weight[0].bits == 2);
  CHECK(conv.weight[1].bits == 4);
  CHECK(conv.weight[1].size == 4 * conv.weights + 32 * 6);
  CHECK(conv.weight[0].loss == loss_with("W=uniform:2,keep=0+7") - base);
  CHECK(conv.weight[1].loss == loss_with("W=uniform:4,keep=0+7") - base);
  CHECK(conv.input[0].loss == loss_with("A=uniform:2,keep=0+7") - base);
  CHECK(s.layers[1].input[1].loss == loss_with("A=uniform:4,keep=0+2") - base);
  CHECK(conv.weight[0].noise > 4 * conv.weight[1].noise);
  CHECK(conv.weight[1].noise > 0);
  CHECK(conv.foretold(conv.weight[0]) ==
        doctest::Approx(conv.trace / 216 * conv.weight[0].noise / 2));
  // The first layer, biases, and batch norm with its statistics.
  CHECK(s.other_size == 32 * (3 * 4 * 9 + 4 + 4 * 6 + 5));
  CHECK(s.other_macs == 36 * 3 * 4 * 9);
  CHECK(contains(str(s), "trace / weight  W2"));
}

TEST_CASE("sensitivity: the model stays as it is") {
  nn::Layer model = net();
  const nn::Layer copy = model;
  sensitivity(model, parse_scheme("lsq:W4A4,keep=none"), batches(), {.bits = {3}, .probes = 2});
  const auto before = nn::state_dict(copy), after = nn::state_dict(model);
  REQUIRE(before.size() == after.size());
  for (const auto& entry : before) {
    CAPTURE(entry.first);
    CHECK(entry.second == after.at(entry.first));
  }
  CHECK(model->training);
  for (const nn::NamedTensor& p : nn::parameters(model)) CHECK_FALSE(p.tensor.grad());
}

TEST_CASE("trace: of softmax regression it has a formula") {
  // loss = -log p_y, p = softmax(W x):  trace = mean over images of sum_c p_c (1 - p_c) |x|^2
  nn::Layer model = nn::Sequential({nn::Flatten(), nn::Linear({.in = 108, .out = 5})});
  Rng rng(1);
  nn::init(model, rng);
  double want = 0;
  for (const Batch& b : batches()) {
    const NoGrad guard;
    const Tensor p = softmax(model(b.x));
    for (int64_t n = 0; n < b.x.dim(0); ++n) {
      double spread = 0, size = 0;
      for (int64_t c = 0; c < 5; ++c) spread += p.at({n, c}) * (1 - p.at({n, c}));
      for (int64_t i = 0; i < 108; ++i) size += std::pow(b.x.data()[n * 108 + i], 2.0);
      want += spread * size / 8;
    }
  }
  // A probe is off by a quarter of it, about; 1000 by less than 1 %.
  const auto got = quant::hessian_traces(model, {"1"}, batches(), 1000);
  REQUIRE(got.size() == 1);
  CHECK(got[0] == doctest::Approx(want).epsilon(0.03));
}

TEST_CASE("trace: of every layer of a ReLU network, against one weight at a time") {
  nn::Layer model =
      nn::Sequential({nn::Conv2d({.in = 3, .out = 2, .kernel = 3, .stride = 2}), nn::BatchNorm2d(2),
                      nn::ReLU(), nn::Flatten(), nn::Linear({.in = 8, .out = 6}),
                      nn::LeakyReLU(0.2f), nn::Linear({.in = 6, .out = 5})});
  Rng rng(1);
  nn::init(model, rng, {.zero_bias = false});
  const auto got = quant::hessian_traces(model, {"0", "4", "6"}, batches(), 1000);
  size_t i = 0;
  for (const quant::LayerInfo& info : quant::layers(model)) {
    CAPTURE(info.path);
    const double want = trace_of(model, info.weight(), batches());
    CHECK(got[i++] == doctest::Approx(want).epsilon(0.05));
  }
}

TEST_CASE("sensitivity: what cannot be measured is refused") {
  const nn::Layer model = net();
  const auto refused = [&](const std::string& scheme, const quant::SensitivityOptions& o = {}) {
    return message_of([&] { sensitivity(model, parse_scheme(scheme), batches(), o); });
  };
  CHECK(contains(refused("float"), "quantizes nothing"));
  CHECK(contains(refused("W=binary,A=lsq:4"), "binary has no bits to choose"));
  CHECK(contains(refused("lsq:W4A4,bn=fused"), "bn and place=act change more than one layer"));
  CHECK(contains(refused("lsq:W4A4,edges=lsq:8"), "leave out edges and bits"));
  CHECK(contains(refused("lsq:W4A4,bits=0:8"), "leave out edges and bits"));
  CHECK(contains(refused("lsq:W4A4,keep=*"), "leaves every layer float"));
  CHECK(contains(refused("lsq:W4A4", {.bits = {}}), "no bits to try"));
  CHECK(contains(refused("lsq:W4A4", {.bits = {17}}), "takes 2 to 16 bits"));
  CHECK(contains(refused("lsq:W4A4", {.probes = -1}), "probes must not be negative"));
  CHECK(
      contains(message_of([&] { sensitivity(model, parse_scheme("lsq:W4A4"), {}); }), "no images"));
  CHECK(contains(message_of([&] { quant::hessian_traces(model, {"9"}, batches(), 1); }),
                 "no layer 9"));
  CHECK(contains(message_of([&] { quant::hessian_traces(model, {"0"}, batches(), 0); }),
                 "probes must be positive, got 0"));
}
