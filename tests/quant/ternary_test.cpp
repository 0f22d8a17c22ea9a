#include "quant/ternary.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/parallel.h"
#include "nn/conv2d.h"
#include "nn/state.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using test::close;

constexpr test::Tolerance kRounding{.absolute = 1e-7, .relative = 1e-6};

Tensor random(const Shape& shape, uint64_t seed) {
  Rng rng(seed);
  return Tensor::uniform(shape, rng, -1.0f, 1.0f);
}

Tensor rows(std::initializer_list<float> values, int64_t count) {
  const std::vector<float> v(values);
  return Tensor::of(v, {count, static_cast<int64_t>(v.size()) / count});
}

struct Reference {
  std::vector<double> y, dw;
};

/// The formula in double over `count` rows.
Reference ternarized(const Tensor& w, const Tensor& dy, int64_t count, double threshold) {
  const size_t n = static_cast<size_t>(w.numel() / count);
  Reference r{std::vector<double>(w.span().size()), std::vector<double>(w.span().size())};
  for (size_t row = 0; row < static_cast<size_t>(count); ++row) {
    const float *x = w.data() + row * n, *g = dy.data() + row * n;
    double mean = 0, sum = 0, shared = 0, kept = 0;
    for (size_t i = 0; i < n; ++i) mean += std::fabs(double{x[i]}) / static_cast<double>(n);
    const auto t = [&](size_t i) {
      return std::fabs(x[i]) > threshold * mean ? (x[i] > 0 ? 1 : -1) : 0;
    };
    for (size_t i = 0; i < n; ++i) {
      sum += t(i) * x[i];
      shared += t(i) * g[i];
      kept += t(i) != 0;
    }
    for (size_t i = 0; i < n; ++i) {
      r.y[row * n + i] = sum / kept * t(i);
      r.dw[row * n + i] = sum / kept * g[i] + t(i) * shared / kept;
    }
  }
  return r;
}

TEST_CASE("ternary weight: value and gradient follow the formula, per filter and per layer") {
  for (const bool per_layer : {false, true}) {
    CAPTURE(per_layer);
    Tensor w = random({6, 3, 3, 5}, 1);
    for (int64_t i = 0; i < 45; ++i) w.data()[i] *= 0.1f;  // a filter of another scale
    const Tensor dy = random({6, 3, 3, 5}, 2), before = w.clone();
    const Reference want = ternarized(w, dy, per_layer ? 1 : 6, 0.7);
    w.requires_grad_();
    const nn::Layer layer = quant::TernaryWeight({.per_layer = per_layer});
    const Tensor y = layer(w);
    y.backward(dy);
    CHECK(close(y, want.y, kRounding));
    CHECK(close(w.grad(), want.dw, kRounding));
    CHECK(w == before);
  }
}

TEST_CASE("ternary weight: a weight on the threshold is zero") {
  // mean |w| = 1, threshold 1: |w| = 1 is not above it.
  const nn::Layer layer = quant::TernaryWeight({.threshold = 1.0f, .alpha = false});
  CHECK(layer(rows({1, -1, 1.5f, -0.5f}, 1)) == rows({0, 0, 1, 0}, 1));
}

TEST_CASE("ternary weight: an all-zero filter gives zeros and a gradient that revives it") {
  Tensor w = rows({0, 0, 0, 3, -3, 0.1f}, 2);
  w.requires_grad_();
  const nn::Layer layer = quant::TernaryWeight();
  const Tensor y = layer(w);
  y.backward(rows({1, 2, 3, 1, 1, 1}, 2));
  CHECK(close(y, rows({0, 0, 0, 3, -3, 0}, 2)));
  // Row 1: t = (1, -1, 0), sum g t = 0, so only alpha g is left.
  CHECK(close(w.grad(), rows({1, 2, 3, 3, 3, 3}, 2)));
}

TEST_CASE("ternary weight: without alpha the values are -1, 0, 1 and the gradient passes through") {
  Tensor w = rows({0.9f, -0.8f, 0.1f, 0.05f}, 1);
  w.requires_grad_();
  const nn::Layer layer = quant::TernaryWeight({.alpha = false});
  const Tensor y = layer(w), dy = rows({1, 2, 3, 4}, 1);
  y.backward(dy);
  CHECK(y == rows({1, -1, 0, 0}, 1));
  CHECK(w.grad() == dy);
}

TEST_CASE("ternary weight: NaN is not hidden") {
  const Tensor w = rows({1, NAN, 2, 3}, 2);
  for (const bool alpha : {true, false}) {
    const nn::Layer layer = quant::TernaryWeight({.alpha = alpha});
    CHECK(std::isnan(layer(w).data()[1]));
    CHECK(std::isfinite(layer(w).data()[3]));
  }
}

TEST_CASE("ternary weight: the gap keeps what was there") {
  // Mean |w| is 1 throughout, delta 0.7, gap 0.8 * 0.7 = 0.56.
  nn::Layer layer = quant::TernaryWeight({.alpha = false, .gap = 0.8f}, {1, 4});
  CHECK(layer(rows({0.6f, -0.6f, 1.4f, -1.4f}, 1)) == rows({0, 0, 1, -1}, 1));  // no past yet
  CHECK(layer(rows({0.8f, -0.8f, 1.2f, -1.2f}, 1)) == rows({1, -1, 1, -1}, 1));
  CHECK(layer(rows({0.6f, -0.6f, 1.4f, -1.4f}, 1)) == rows({1, -1, 1, -1}, 1));  // kept
  CHECK(layer(rows({0.5f, 0.6f, 1.45f, -1.45f}, 1)) == rows({0, 0, 1, -1}, 1));
  // ... below the gap, or with the other sign, the past is gone.
  CHECK(layer(rows({0.6f, -0.6f, 1.4f, -1.4f}, 1)) == rows({0, 0, 1, -1}, 1));

  layer(rows({0.8f, -0.8f, 1.2f, -1.2f}, 1));
  nn::set_training(layer, false);
  layer(rows({0.1f, 0.1f, 1.9f, -1.9f}, 1));  // eval reads the memory, and leaves it alone
  CHECK(layer(rows({0.6f, -0.6f, 1.4f, -1.4f}, 1)) == rows({1, -1, 1, -1}, 1));
}

TEST_CASE("ternary weight: the gap's memory is a buffer, and only with a gap") {
  nn::Conv2d conv({.in = 2, .out = 3});
  conv.weight_fn = quant::TernaryWeight({.gap = 0.5f}, conv.weight.shape());
  nn::Layer with = conv;
  CHECK(nn::state_dict(with).count("weight_fn.last") == 1);
  conv.weight_fn = quant::TernaryWeight();
  CHECK(nn::state_dict(conv).size() == 2);  // weight, bias

  // A copy has a memory of its own.
  nn::Layer a = quant::TernaryWeight({.alpha = false, .gap = 0.8f}, {1, 4}), b = a;
  a(rows({0.8f, -0.8f, 1.2f, -1.2f}, 1));
  const Tensor between = rows({0.6f, -0.6f, 1.4f, -1.4f}, 1);
  CHECK(a(between) == rows({1, -1, 1, -1}, 1));
  CHECK(b(between) == rows({0, 0, 1, -1}, 1));
}

TEST_CASE("ternary weight: wrong options are refused") {
  using test::contains, test::message_of;
  CHECK(contains(message_of([] { quant::TernaryWeight({.gap = 1.0f}, {2, 2}); }), "gap"));
  CHECK(contains(message_of([] { quant::TernaryWeight({.gap = 0.5f}); }), "shape"));
  CHECK(contains(message_of([] { quant::TernaryWeight({.threshold = -1.0f}); }), "threshold"));
  nn::Layer layer = quant::TernaryWeight({.gap = 0.5f}, {2, 2});
  CHECK(contains(message_of([&] { layer(Tensor::ones({3, 2})); }), "[3, 2]"));
}

TEST_CASE("ternary weight: stored bits") {
  const Tensor w = Tensor::zeros({10, 3, 3, 20});
  CHECK(quant::TernaryWeight().stored_bits(w) == 2 * 1800 + 32 * 10);
  CHECK(quant::TernaryWeight({.per_layer = true}).stored_bits(w) == 2 * 1800 + 32);
  CHECK(quant::TernaryWeight({.alpha = false}).stored_bits(w) == 2 * 1800);
}

TEST_CASE("ternary activation: values and surrogate gradients") {
  const auto grad = [](Ste ste) {
    Tensor x = Tensor::of({-3, -0.6f, -0.5f, 0, 0.5f, 0.75f, 1, 2});
    x.requires_grad_();
    const nn::Layer layer = quant::TernaryActivation(ste);
    const Tensor y = layer(x);
    CHECK(y == Tensor::of({-1, -1, 0, 0, 0, 1, 1, 1}));
    y.backward(Tensor::full({8}, 1.0f));
    return x.grad();
  };
  CHECK(grad(Ste::identity) == Tensor::ones({8}));
  CHECK(grad(Ste::clip) == Tensor::of({0, 1, 1, 1, 1, 1, 0, 0}));
  CHECK(close(grad(Ste::triangle), Tensor::of({0, 0.4f, 0.5f, 1, 0.5f, 0.25f, 0, 0}), kRounding));
  CHECK(close(grad(Ste::poly), Tensor::of({0, 0.8f, 1, 2, 1, 0.5f, 0, 0}), kRounding));
  const nn::Layer wide = quant::TernaryActivation(Ste::clip, 0.25f);
  CHECK(wide(Tensor::of({0.3f, -0.2f})) == Tensor::of({1, 0}));
}

TEST_CASE("ternary weight: the same bits with 1 and 5 threads") {
  const Tensor w0 = random({33, 3, 3, 64}, 8), dy = random({33, 3, 3, 64}, 9);
  const auto run = [&](int threads) {
    set_num_threads(threads);
    Tensor w = w0.clone();
    w.requires_grad_();
    const nn::Layer layer = quant::TernaryWeight();
    const Tensor y = layer(w);
    y.backward(dy);
    set_num_threads(0);
    return std::vector<Tensor>{y, w.grad()};
  };
  CHECK(run(1) == run(5));
}

}  // namespace
}  // namespace pare
