#include "quant/dorefa.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/parallel.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using quant::DorefaForm;
using test::close;

// tanh is good to a few units in the last place.
constexpr test::Tolerance kRounding{.absolute = 1e-7, .relative = 2e-6};

Tensor random(const Shape& shape, uint64_t seed, float size = 1.0f) {
  Rng rng(seed);
  return Tensor::uniform(shape, rng, -size, size);
}

/// 2 q(tanh(w) / 2m + 1/2) - 1 and its gradient, in double.
struct Reference {
  std::vector<double> y, dw;
  double step;
};
Reference reference(const Tensor& w, const Tensor& dy, int bits) {
  const double n = std::pow(2.0, bits) - 1;
  Reference r{{}, {}, 2 / n};
  double m = 0, shared = 0;
  int64_t at = 0;
  std::vector<double> t;
  for (const float v : w.span()) t.push_back(std::tanh(double{v}));
  for (size_t i = 0; i < t.size(); ++i) {
    if (std::fabs(t[i]) > m) {
      m = std::fabs(t[i]);
      at = static_cast<int64_t>(i);
    }
    shared += t[i] * dy.data()[i];
  }
  for (size_t i = 0; i < t.size(); ++i) {
    r.y.push_back(2 * std::round((t[i] / (2 * m) + 0.5) * n) / n - 1);
    double dt = dy.data()[i] / m;
    if (static_cast<int64_t>(i) == at) dt -= (t[i] > 0 ? 1 : -1) * shared / (m * m);
    r.dw.push_back(dt * (1 - t[i] * t[i]));
  }
  return r;
}

TEST_CASE("dorefa weight: value and gradient follow the formula at 2 to 16 bits") {
  for (int bits = 2; bits <= 16; ++bits) {
    CAPTURE(bits);
    Tensor w = random({4, 3, 3, 5}, 1, 2.0f);
    const Tensor dy = random({4, 3, 3, 5}, 2);
    const Reference want = reference(w, dy, bits);
    w.requires_grad_();
    const nn::Layer layer = quant::DorefaWeight(bits, DorefaForm::micronet);
    const Tensor y = layer(w);
    y.backward(dy);
    // A value beside a tie may take either level, which at 16 bits is 3e-5 away.
    CHECK(close(y, want.y, {.absolute = bits > 10 ? 1.1 * want.step : 1e-6}));
    CHECK(close(w.grad(), want.dw, kRounding));
  }
}

TEST_CASE("dorefa weight: the largest weight gets no gradient through its own quotient") {
  // A single weight is always +1: y does not depend on it.
  Tensor w = Tensor::of(std::vector<float>{0.7f}, {1, 1});
  w.requires_grad_();
  const nn::Layer layer = quant::DorefaWeight(4);
  const Tensor y = layer(w);
  CHECK(y.item() == 1.0f);
  y.backward();
  CHECK(std::fabs(w.grad().item()) < 1e-6f);
}

TEST_CASE("dorefa weight: one bit is the sign times the layer's mean magnitude") {
  Tensor w = Tensor::of(std::vector<float>{1, -2, 0, -5}, {2, 2});
  w.requires_grad_();
  const nn::Layer layer = quant::DorefaWeight(1);
  const Tensor y = layer(w), dy = Tensor::of(std::vector<float>{1, 2, 3, 4}, {2, 2});
  y.backward(dy);
  CHECK(y == Tensor::of(std::vector<float>{2, -2, 2, -2}, {2, 2}));
  CHECK(w.grad() == dy);
}

TEST_CASE("dorefa weight: all zeros are no NaN") {
  for (const int bits : {1, 2, 8}) {
    Tensor w = Tensor::zeros({2, 3});
    w.requires_grad_();
    const nn::Layer layer = quant::DorefaWeight(bits);
    const Tensor y = layer(w);
    y.backward(Tensor::ones({2, 3}));
    for (const float v : y.span()) CHECK(std::isfinite(v));
    CHECK(w.grad() == Tensor::ones({2, 3}));
  }
}

TEST_CASE("dorefa activation: clip, levels and gradient in both forms") {
  const Tensor x0 = Tensor::of({-1, 0, 0.5f, 1, 2, 0.1f});
  const auto run = [&](const nn::Layer& layer, float scale) {
    Tensor x = x0 * scale;
    x = x.clone();
    x.requires_grad_();
    const Tensor y = layer(x);
    y.backward(Tensor::full({6}, 2.0f));
    return std::pair(y, x.grad());
  };
  {
    const auto [y, dx] = run(quant::DorefaActivation(1), 1);
    CHECK(y == Tensor::of({0, 0, 0, 1, 1, 0}));  // 0.5 is a tie: to even
    CHECK(dx == Tensor::of({0, 2, 2, 2, 0, 2}));
  }
  {
    const auto [y, dx] = run(quant::DorefaActivation(1, DorefaForm::micronet), 10);
    CHECK(y == Tensor::of({0, 0, 1, 1, 1, 0}));  // away from zero
    CHECK(close(dx, Tensor::of({0, 0.2f, 0.2f, 0.2f, 0, 0.2f}), kRounding));
  }
  {
    const auto [y, dx] = run(quant::DorefaActivation(2, DorefaForm::paper, 0.5f), 2);
    CHECK(close(y, Tensor::of({0, 0, 2 / 3.0f, 1, 1, 0}), kRounding));
    CHECK(close(dx, Tensor::of({0, 1, 1, 1, 0, 1}), kRounding));
  }
  // 16 bits are 65535 steps.
  const nn::Layer fine = quant::DorefaActivation(16);
  CHECK(close(fine(Tensor::of({0.123456f})), Tensor::of({0.123456f}), {.absolute = 0.51 / 65535}));
}

TEST_CASE("dorefa: bits out of range are refused, with a word on 32") {
  using test::contains, test::message_of;
  for (const int bits : {0, 17, 32}) {
    CHECK(contains(message_of([&] { quant::DorefaWeight{bits}; }), "1 to 16"));
    CHECK(contains(message_of([&] { quant::DorefaActivation{bits}; }), "socket empty"));
  }
  CHECK(contains(message_of([] { quant::DorefaActivation(4, DorefaForm::paper, -1.0f); }),
                 "prescale"));
}

TEST_CASE("dorefa: stored bits") {
  const Tensor w = Tensor::zeros({10, 3, 3, 20});
  CHECK(quant::DorefaWeight(4).stored_bits(w) == 4 * 1800);
  CHECK(quant::DorefaWeight(1).stored_bits(w) == 1800 + 32);
}

TEST_CASE("dorefa weight: the same bits with 1 and 5 threads") {
  const Tensor w0 = random({33, 3, 3, 64}, 8), dy = random({33, 3, 3, 64}, 9);
  const auto run = [&](int threads, int bits) {
    set_num_threads(threads);
    Tensor w = w0.clone();
    w.requires_grad_();
    const nn::Layer layer = quant::DorefaWeight(bits);
    const Tensor y = layer(w);
    y.backward(dy);
    set_num_threads(0);
    return std::vector<Tensor>{y, w.grad()};
  };
  CHECK(run(1, 4) == run(5, 4));
  CHECK(run(1, 1) == run(5, 1));
}

}  // namespace
}  // namespace pare
