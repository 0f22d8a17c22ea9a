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
  const SparsityOptions o{.target = 0.8, .from = 0.2, .until = 0.6};
  CHECK(cubic_sparsity(o, 0) == 0);
  CHECK(cubic_sparsity(o, 0.2) == 0);
  CHECK(cubic_sparsity(o, 0.4) == doctest::Approx(0.8 * (1 - 0.125)));
  CHECK(cubic_sparsity(o, 0.6) == 0.8);
  CHECK(cubic_sparsity(o, 1) == 0.8);
  CHECK(cubic_sparsity({.target = 0.5, .from = 0, .until = 0}, 0) == 0.5);
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
    CHECK(now == static_cast<int64_t>(40 * cubic_sparsity({.target = 0.75}, t)));
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
