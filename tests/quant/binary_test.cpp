#include "quant/binary.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/parallel.h"
#include "tests/support/close.h"

namespace pare {
namespace {

using test::close;

// Sums are taken in double and rounded once.
constexpr test::Tolerance kRounding{.absolute = 1e-7, .relative = 1e-6};

nn::Layer weight_layer(const quant::BinaryWeightOptions& options = {}) {
  return quant::BinaryWeight(options);
}

Tensor random(const Shape& shape, uint64_t seed, float lo = -1.5f, float hi = 1.5f) {
  Rng rng(seed);
  return Tensor::uniform(shape, rng, lo, hi);
}

/// What the formula says, in double: v = clamp(w - mean_in(w), -1, 1), per column of `in` values.
std::vector<double> prepared(const Tensor& w, bool center, bool clamp) {
  const int64_t in = w.dim(-1);
  std::vector<double> v(w.span().begin(), w.span().end());
  for (size_t c = 0; c < v.size(); c += static_cast<size_t>(in)) {
    double mean = 0;
    for (size_t i = c; i < c + static_cast<size_t>(in); ++i) mean += v[i] / static_cast<double>(in);
    for (size_t i = c; i < c + static_cast<size_t>(in); ++i) {
      if (center) v[i] -= mean;
      if (clamp) v[i] = std::min(std::max(v[i], -1.0), 1.0);
    }
  }
  return v;
}

struct Reference {
  std::vector<double> y, dv;
};

/// y = alpha sign(v) and its gradient, filter by filter, in double.
Reference binarized(const std::vector<double>& v, const Tensor& dy, int64_t filters, bool alpha) {
  const size_t n = v.size() / static_cast<size_t>(filters);
  Reference r{v, v};
  for (size_t f = 0; f < static_cast<size_t>(filters); ++f) {
    double a = 0, shared = 0;
    for (size_t i = f * n; i < (f + 1) * n; ++i) {
      a += std::fabs(v[i]) / static_cast<double>(n);
      shared += (v[i] >= 0 ? 1.0 : -1.0) * dy.data()[i] / static_cast<double>(n);
    }
    if (!alpha) a = 1, shared = 0;
    for (size_t i = f * n; i < (f + 1) * n; ++i) {
      const double s = v[i] >= 0 ? 1 : -1;
      r.y[i] = a * s;
      r.dv[i] = a * dy.data()[i] + s * shared;
    }
  }
  return r;
}

TEST_CASE("binary weight: value, gradient and stored weight follow the formula") {
  for (const bool center : {true, false}) {
    for (const bool clamp : {true, false}) {
      for (const bool alpha : {true, false}) {
        CAPTURE(center);
        CAPTURE(clamp);
        CAPTURE(alpha);
        Tensor w = random({5, 3, 2, 7}, 1);
        const Tensor dy = random({5, 3, 2, 7}, 2);
        const std::vector<double> v = prepared(w, center, clamp);
        const Reference want = binarized(v, dy, 5, alpha);
        w.requires_grad_();
        const Tensor y = weight_layer({.center = center, .clamp = clamp, .alpha = alpha})(w);
        y.backward(dy);
        CHECK(close(y, want.y, kRounding));
        CHECK(close(w.grad(), want.dv, kRounding));
        CHECK(close(w, v, kRounding));  // centred and clamped where it is stored
      }
    }
  }
}

TEST_CASE("binary weight: sign(0) is +1, and an all-zero filter is no NaN") {
  Tensor w = Tensor::of(std::vector<float>{0, 0, 0, 0, 0, 0.5f, -0.25f, -0.25f}, {2, 1, 1, 4});
  w.requires_grad_();
  const Tensor y = weight_layer({.center = false})(w);
  CHECK(close(
      y, Tensor::of(std::vector<float>{0, 0, 0, 0, 0.25f, 0.25f, -0.25f, -0.25f}, {2, 1, 1, 4})));
  y.backward(Tensor::of(std::vector<float>{1, 2, 3, 2, 4, 0, 0, 0}, {2, 1, 1, 4}));
  // Filter 0: alpha = 0, every sign +1: the mean of dy. Filter 1: 0.25 dy + sign * 4 / 4.
  CHECK(close(w.grad(), Tensor::of(std::vector<float>{2, 2, 2, 2, 2, 1, -1, -1}, {2, 1, 1, 4})));
}

TEST_CASE("binary weight: the stored weight is touched only while training it") {
  const Tensor original = random({4, 3, 3, 6}, 3);
  const auto after = [&](bool training, bool wanted, bool in_place) {
    Tensor w = original.clone();
    w.requires_grad_(wanted);
    nn::Layer layer = weight_layer({.in_place = in_place});
    nn::set_training(layer, training);
    const Tensor y = layer(w);
    return std::pair(w, y);
  };
  const auto [trained, y] = after(true, true, true);
  CHECK_FALSE(trained == original);
  CHECK(after(false, true, true).first == original);  // eval mode
  CHECK(after(true, false, true).first == original);  // frozen
  CHECK(after(true, true, false).first == original);  // the pure form
  // The value is the same in all four.
  CHECK(after(false, true, true).second == y);
  CHECK(after(true, false, true).second == y);
  CHECK(close(after(true, true, false).second, y, kRounding));
  // A computed weight is nobody's storage.
  Tensor w = original.clone();
  w.requires_grad_();
  weight_layer()(w * 1.0f);
  CHECK(w == original);
}

TEST_CASE("binary weight: the pure form has the gradient of centring and clamping") {
  Tensor w = random({3, 2, 2, 5}, 4, -2.0f, 2.0f);
  const Tensor dy = random({3, 2, 2, 5}, 5);
  const std::vector<double> v = prepared(w, true, true), inner = prepared(w, true, false);
  std::vector<double> want = binarized(v, dy, 3, true).dv;
  for (size_t i = 0; i < want.size(); ++i) want[i] *= std::fabs(inner[i]) <= 1;
  for (size_t c = 0; c < want.size(); c += 5) {
    double mean = 0;
    for (size_t i = c; i < c + 5; ++i) mean += want[i] / 5;
    for (size_t i = c; i < c + 5; ++i) want[i] -= mean;
  }
  w.requires_grad_();
  weight_layer({.in_place = false})(w).backward(dy);
  CHECK(close(w.grad(), want, kRounding));
}

TEST_CASE("binary weight: one input channel is not centred away") {
  Tensor w = random({6, 3, 3, 1}, 6, -0.9f, 0.9f);  // depthwise
  const Tensor original = w.clone();
  w.requires_grad_();
  const Tensor y = weight_layer()(w);
  CHECK(w == original);
  CHECK(std::fabs(y.data()[0]) > 0);
}

TEST_CASE("binary weight: NaN is not hidden") {
  Tensor w = Tensor::of(std::vector<float>{1, NAN, 2, 3}, {2, 2});
  for (const bool alpha : {true, false}) {
    const Tensor y = weight_layer({.center = false, .alpha = alpha})(w);
    CHECK(std::isnan(y.data()[1]));
    CHECK(std::isfinite(y.data()[2]));
  }
}

TEST_CASE("binary weight: stored bits") {
  const Tensor w = Tensor::zeros({10, 3, 3, 20});
  CHECK(quant::BinaryWeight().stored_bits(w) == 1800 + 32 * 10);
  CHECK(quant::BinaryWeight({.alpha = false}).stored_bits(w) == 1800);
}

TEST_CASE("binary activation: sign and its four surrogate gradients") {
  const auto grad = [](Ste ste, const Tensor& values) {
    Tensor x = values.clone();
    x.requires_grad_();
    const nn::Layer layer = quant::BinaryActivation(ste);
    const Tensor y = layer(x);
    CHECK(y == Tensor::of({-1, -1, -1, 1, 1, 1, 1}));
    y.backward(Tensor::full({7}, 2.0f));
    return x.grad();
  };
  const Tensor x = Tensor::of({-3, -1, -0.25f, 0, 0.5f, 1, 2});
  CHECK(grad(Ste::identity, x) == Tensor::of({2, 2, 2, 2, 2, 2, 2}));
  CHECK(grad(Ste::clip, x) == Tensor::of({0, 0, 2, 2, 2, 0, 0}));
  CHECK(grad(Ste::triangle, x) == Tensor::of({0, 0, 1.5f, 2, 1, 0, 0}));
  CHECK(grad(Ste::poly, x) == Tensor::of({0, 0, 3, 4, 2, 0, 0}));
}

TEST_CASE("binary weight: the same bits with 1 and 5 threads") {
  const Tensor original = random({33, 3, 3, 64}, 8), dy = random({33, 3, 3, 64}, 9);
  const auto run = [&](int threads) {
    set_num_threads(threads);
    Tensor w = original.clone();
    w.requires_grad_();
    const Tensor y = weight_layer()(w);
    y.backward(dy);
    set_num_threads(0);
    return std::vector<Tensor>{y, w, w.grad()};
  };
  CHECK(run(1) == run(5));
}

}  // namespace
}  // namespace pare
