#include "prune/sparsity.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/prune/cases.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::prune;
using namespace pare::test;

namespace {

int64_t zeros(const Tensor& t) {
  const std::span<const float> v = t.span();
  return std::count(v.begin(), v.end(), 0.0f);
}

/// A linear layer 8 -> 5 and what an optimizer would do to it.
struct Net {
  nn::Layer model = nn::Sequential({nn::Linear({8, 5}), nn::ReLU(), nn::Linear({5, 4})});
  Net() { randomize(model); }
  Tensor& weight(size_t i) {
    return model.as<nn::Sequential>()->layers[i].as<nn::Linear>()->weight;
  }
  void step() {
    for (size_t i : {0, 2}) {
      for (float& v : weight(i).span()) v += 0.001f;
    }
  }
};

}  // namespace

TEST_CASE("sparsity: the cubic schedule") {
  CHECK(cubic_sparsity(0, 0.2, 0.6) == 0);
  CHECK(cubic_sparsity(0.2, 0.2, 0.6) == 0);
  CHECK(cubic_sparsity(0.4, 0.2, 0.6) == doctest::Approx(1 - 0.125));
  CHECK(cubic_sparsity(0.6, 0.2, 0.6) == 1);
  CHECK(cubic_sparsity(1, 0.2, 0.6) == 1);
  CHECK(cubic_sparsity(0, 0, 0) == 1);
}

TEST_CASE("sparsity: Erdős-Rényi-Kernel leaves small layers denser, and the whole as asked for") {
  const std::vector<Shape> weights{{16, 3, 3, 3}, {16, 3, 3, 16}, {64, 3, 3, 64}, {10, 64}};
  double all = 0;
  for (const Shape& w : weights) all += static_cast<double>(w.numel());
  for (double target : {0.0, 0.5, 0.75, 0.99}) {
    CAPTURE(target);
    const std::vector<double> zeros = layer_sparsity(weights, target, Density::erk);
    double sum = 0;
    for (size_t i = 0; i < zeros.size(); ++i) {
      CHECK(zeros[i] >= 0);
      CHECK(zeros[i] < 1);
      sum += zeros[i] * static_cast<double>(weights[i].numel());
    }
    CHECK(sum / all == doctest::Approx(target));
  }
  // The first and the last layer and that of 16 channels would keep more than they have.
  const std::vector<double> half = layer_sparsity(weights, 0.5, Density::erk);
  CHECK(half[0] == 0);
  CHECK(half[1] == 0);
  CHECK(half[3] == 0);
  CHECK(half[2] == doctest::Approx(0.5 * all / 36864));
  // Of two layers that are not whole, densities are as (16 + 3 + 3 + 16) / 2304 to 134 / 36864.
  const std::vector<double> most = layer_sparsity({weights[1], weights[2]}, 0.9, Density::erk);
  CHECK((1 - most[0]) / (1 - most[1]) == doctest::Approx(38.0 / 2304 / (134.0 / 36864)));
  CHECK(layer_sparsity(weights, 0.7, Density::uniform) == std::vector<double>(4, 0.7));
}

TEST_CASE("sparsity: the largest magnitudes stay, of equal ones the first") {
  Tensor w = Tensor::of({0.5f, -3, 2, -0.5f, 0, 2});
  keep_largest(w, 3);
  CHECK(w == Tensor::of({0, -3, 2, 0, 0, 2}));
  keep_largest(w, 2);
  CHECK(w == Tensor::of({0, -3, 2, 0, 0, 0}));
  keep_largest(w, 6);
  CHECK(w == Tensor::of({0, -3, 2, 0, 0, 0}));
  keep_largest(w, 0);
  CHECK(zeros(w) == 6);
}

TEST_CASE("sparsity: n of m along the input channels") {
  Tensor w = Tensor::of({1, -4, 3, 2, 9, 8, 7, 1, 1, 0.5f, 5, 6}).reshape({2, 6});
  keep_pattern(w, {2, 4});  // rows of six: four, then two
  CHECK(w == Tensor::of({0, -4, 3, 0, 9, 8, 7, 1, 0, 0, 5, 6}).reshape({2, 6}));
  CHECK(parse_pattern("2:4") == Pattern{2, 4});
  CHECK(parse_pattern("1:16") == Pattern{1, 16});
  for (const char* bad : {"", "2", "2:", ":4", "4:4", "5:4", "0:4", "2:4x", "-1:4"}) {
    const std::string text = bad;
    CAPTURE(text);
    CHECK(contains(message_of([&] { parse_pattern(text); }), "expected a pattern such as 2:4"));
  }
}

TEST_CASE("sparsity: zeros grow along the schedule, and stay") {
  Net net;
  Sparsifier s(net.model, {.target = 0.75, .from = 0, .until = 0.5});
  int64_t last = 0;
  std::vector<bool> was(40);
  for (double t : {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0}) {
    net.step();
    s.update(t);
    const int64_t now = zeros(net.weight(0));
    CHECK(now >= last);
    CHECK(now == static_cast<int64_t>(40 * 0.75 * cubic_sparsity(t, 0, 0.5)));
    for (size_t i = 0; i < was.size(); ++i) {
      const bool zero = net.weight(0).data()[i] == 0;
      if (was[i]) CHECK(zero);
      was[i] = zero;
    }
    last = now;
  }
  CHECK(last == 30);
  CHECK(zeros(net.weight(2)) == 15);
  const Sparsity found = sparsity(net.model);
  REQUIRE(found.rows.size() == 2);
  CHECK(found.rows[0].path == "0");
  CHECK(found.weights() == 60);
  CHECK(found.zeros() == 45);
}

TEST_CASE("sparsity: a new one goes on where the old one stopped") {
  Net net, again;
  const SparsityOptions o{.target = 0.5, .until = 1};
  Sparsifier one(net.model, o);
  for (double t : {0.3, 0.6, 0.9}) net.step(), one.update(t);
  again.weight(0).copy_(net.weight(0));
  again.weight(2).copy_(net.weight(2));
  Sparsifier two(again.model, o);
  net.step(), one.update(0.95);
  again.step(), two.update(0.95);
  CHECK(net.weight(0) == again.weight(0));
  CHECK(net.weight(2) == again.weight(2));
}

TEST_CASE("sparsity: layers get the zeros that the density says") {
  Net net;
  Sparsifier s(net.model, {.target = 0.5, .density = Density::erk, .until = 0.5});
  const std::vector<double> share = layer_sparsity({{5, 8}, {4, 5}}, 0.5, Density::erk);
  for (double t : {0.1, 0.5, 1.0}) {
    net.step();
    s.update(t);
    const double done = cubic_sparsity(t, 0, 0.5);
    CHECK(zeros(net.weight(0)) == static_cast<int64_t>(40 * share[0] * done));
    CHECK(zeros(net.weight(2)) == static_cast<int64_t>(20 * share[1] * done));
  }
  CHECK(share[0] > share[1]);
}

TEST_CASE("sparsity: patterns, and layers that stay dense") {
  Net net;
  Sparsifier s(net.model, {.pattern = Pattern{2, 4}, .from = 0.5, .until = 0.5, .dense = {"2"}});
  s.update(0.4);
  CHECK(zeros(net.weight(0)) == 0);
  s.update(0.5);
  CHECK(zeros(net.weight(0)) == 20);
  net.step();
  s.update(0.6);
  CHECK(zeros(net.weight(0)) == 20);
  CHECK(zeros(net.weight(2)) == 0);
}

TEST_CASE("sparsity: what makes no sense is refused") {
  Net net;
  const auto error = [&](const SparsityOptions& o) {
    return message_of([&] { Sparsifier(net.model, o); });
  };
  CHECK(contains(error({.target = 1}), "in 0..1 without 1, got 1"));
  CHECK(contains(error({.from = 0.6, .until = 0.5}), "got 0.6 to 0.5"));
  CHECK(contains(error({.until = 1.5}), "within the run"));
  CHECK(contains(error({.dense = {"conv9"}}), "no layer with weights is called conv9"));
  CHECK(contains(error({.dense = {"*"}}), "no layer is left"));
}
