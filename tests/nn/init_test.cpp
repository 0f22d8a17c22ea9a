#include "nn/init.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "nn/layers.h"
#include "nn/state.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::nn;

namespace {

struct Moments {
  double mean = 0, deviation = 0, largest = 0;
};

Moments moments(const Tensor& t) {
  Moments m;
  const double n = static_cast<double>(t.numel());
  for (float v : t.span()) m.mean += v / n;
  for (float v : t.span()) {
    m.deviation += (v - m.mean) * (v - m.mean) / n;
    m.largest = std::max(m.largest, std::abs(double{v}));
  }
  m.deviation = std::sqrt(m.deviation);
  return m;
}

constexpr int64_t kOut = 64, kIn = 40;
constexpr double kFanIn = 9 * kIn, kFanOut = 9 * kOut;

Tensor weight() { return Tensor::zeros({kOut, 3, 3, kIn}); }

/// 23040 draws: the deviation of a normal sample is known to 1 / sqrt(2 n) = 0.5 %, four of that
/// are allowed; a uniform one is known better.
void check_normal(const Tensor& t, double deviation) {
  const Moments m = moments(t);
  CHECK(m.deviation == doctest::Approx(deviation).epsilon(0.02));
  CHECK(std::abs(m.mean) < 4 * deviation / std::sqrt(static_cast<double>(t.numel())));
  CHECK(m.largest > 3 * deviation);
}

void check_uniform(const Tensor& t, double bound) {
  const Moments m = moments(t);
  CHECK(m.deviation == doctest::Approx(bound / std::sqrt(3.0)).epsilon(0.02));
  CHECK(m.largest <= bound * (1 + 1e-6));
  CHECK(m.largest > 0.99 * bound);
}

Layer net(bool with_extra) {
  std::vector<Layer> layers{Conv2d({.in = 3, .out = 8}), BatchNorm2d(8), Dropout(0.5f)};
  if (with_extra) layers.push_back(Conv2d({.in = 8, .out = 8, .pad = 1}));
  return Sequential(std::move(layers));
}

}  // namespace

TEST_CASE("initializers have the deviation of their formula") {
  Rng rng(1);
  Tensor w = weight();
  xavier_uniform_(w, rng);
  check_uniform(w, std::sqrt(6 / (kFanIn + kFanOut)));
  xavier_normal_(w, rng, 2.0f);
  check_normal(w, 2 * std::sqrt(2 / (kFanIn + kFanOut)));
  kaiming_normal_(w, rng);
  check_normal(w, std::sqrt(2 / kFanOut));
  kaiming_normal_(w, rng, Fan::in, 1.0f);
  check_normal(w, std::sqrt(1 / kFanIn));
  kaiming_uniform_(w, rng);
  check_uniform(w, std::sqrt(6 / kFanIn));
  kaiming_uniform_(w, rng, Fan::in, std::sqrt(5.0f));
  check_uniform(w, 1 / std::sqrt(kFanIn));
}

TEST_CASE("dirac is the identity convolution, group by group") {
  Conv2d conv({.in = 6, .out = 6, .kernel = 3, .pad = 1, .groups = 2});
  dirac_(conv.weight, 2);
  Rng rng(2);
  const Tensor x = Tensor::normal({1, 4, 5, 6}, rng);
  CHECK(conv.forward(x) == x);
  CHECK(test::contains(test::message_of([] {
                         Tensor w = Tensor::zeros({3, 4});
                         dirac_(w);
                       }),
                       "conv weight"));
}

TEST_CASE("init fills every layer") {
  Layer model = Sequential({Conv2d({.in = kIn, .out = kOut}), BatchNorm2d(kOut), ReLU(),
                            ConvTranspose2d({.in = kOut, .out = kIn}), LayerNorm(kIn),
                            Linear({.in = 200, .out = 100})});
  for (auto& [name, t] : state_dict(model)) Tensor(t).fill_(9);
  Rng rng(3);
  init(model, rng, {.zero_bias = false});
  auto state = state_dict(model);
  check_normal(state["0.weight"], std::sqrt(2 / kFanOut));
  check_uniform(state["5.weight"], 1 / std::sqrt(200.0));
  CHECK(moments(state["5.bias"]).largest <= 1 / std::sqrt(200.0) * (1 + 1e-6));
  CHECK(moments(state["0.bias"]).largest > 0);
  CHECK(moments(state["0.bias"]).largest <= 1 / std::sqrt(kFanIn) * (1 + 1e-6));
  CHECK(state["1.weight"] == Tensor::ones({kOut}));
  CHECK(state["1.bias"] == Tensor::zeros({kOut}));
  CHECK(state["1.running_mean"] == Tensor::zeros({kOut}));
  CHECK(state["1.running_var"] == Tensor::ones({kOut}));
  CHECK(state["4.weight"] == Tensor::ones({kIn}));

  init(model, rng, {.conv = Scheme::xavier_uniform, .linear_normal = 0.01f});
  state = state_dict(model);
  check_uniform(state["0.weight"], std::sqrt(6 / (kFanIn + kFanOut)));
  check_normal(state["5.weight"], 0.01);
  CHECK(state["0.bias"] == Tensor::zeros({kOut}));
  CHECK(state["5.bias"] == Tensor::zeros({100}));
}

TEST_CASE("one stream per path: an added layer leaves the others alone") {
  Layer small = net(false), large = net(true), other = net(false);
  Rng a(7), b(7), c(8);
  init(small, a);
  init(large, b);
  init(other, c);
  CHECK(state_dict(small)["0.weight"] == state_dict(large)["0.weight"]);
  CHECK_FALSE(state_dict(small)["0.weight"] == state_dict(other)["0.weight"]);
  const auto dropout_state = [](const Layer& model) {
    Rng::State state;
    for_each_rng(model, [&](const std::string&, Rng& rng) { state = rng.state(); });
    return state;
  };
  CHECK(dropout_state(small) == dropout_state(large));
  CHECK_FALSE(dropout_state(small) == Rng().state());
  const Tensor first = state_dict(small)["0.weight"].clone();
  init(small, a);  // the generator has moved on
  CHECK_FALSE(state_dict(small)["0.weight"] == first);
}
