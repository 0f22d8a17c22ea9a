#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/parallel.h"
#include "nn/state.h"
#include "quant/adaround.h"
#include "quant/grid_quantizer.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using namespace quant;
using test::close, test::contains, test::message_of;

Tensor normal(const Shape& shape, uint64_t seed, float size = 1) {
  Rng rng(seed);
  return Tensor::normal(shape, rng, 0, size);
}

nn::Layer make(const std::string& text, Role role, const Shape& x, const Options& options = {}) {
  return make_quantizer(parse_quantizer(text, role, options), {x, x.dim(-1)});
}

void calibrated(nn::Layer& q, const Tensor& x) {
  q.as<Quantizer>()->observe(x);
  q.as<Quantizer>()->settle();
}

Tensor named(const nn::Layer& q, const std::string& name) {
  for (const auto& [path, tensor] : nn::state_dict(q)) {
    if (path == name) return tensor;
  }
  return {};
}

/// Every quantizer with ranges from data, for a weight or an activation.
std::vector<std::pair<std::string, Role>> all_grid_quantizers() {
  std::vector<std::pair<std::string, Role>> all;
  for (const QuantizerInfo& q : quantizers()) {
    for (const Role role : {Role::weight, Role::activation}) {
      const bool fits = (role == Role::weight ? q.no_weights : q.no_activations).empty();
      if (!fits || q.max_bits == 0 || q.name == "dorefa") continue;
      all.push_back({q.name + ":4", role});
    }
  }
  return all;
}

TEST_CASE("fit: the rule of the table, zero always on the grid") {
  const ScaleZero s = fit({-1, 3}, Grid::with_sign(8), false);
  CHECK(s.scale == 2 * 3.0f / 255);
  CHECK(s.zero == 0);
  CHECK(fit({-1, 3}, Grid::with_sign(8, true), false).scale == 3.0f / 127);
  const ScaleZero a = fit({-1, 3}, Grid::without_sign(2), true);
  CHECK(a.scale == 4.0f / 3);
  CHECK(a.zero == 1);                                         // 0.75
  CHECK(fit({2, 3}, Grid::without_sign(2), true).zero == 0);  // widened to 0 .. 3
  CHECK(fit({-3, -2}, Grid::without_sign(2), true).zero == 3);
  CHECK(fit({0, 6}, Grid::without_sign(2), false).scale == 2);
  CHECK(fit({0, 0}, Grid::without_sign(8), true).scale == kSmallestScale);
}

TEST_CASE("uniform: every coding comes within half a step of what it covers") {
  for (const auto& row :
       std::vector<std::pair<std::string, Tensor>>{{"symmetric", normal({4, 5, 5, 3}, 1)},
                                                   {"affine", normal({4, 5, 5, 3}, 2) + 1.0f},
                                                   {"unsigned", abs(normal({4, 5, 5, 3}, 3))},
                                                   {"auto", normal({4, 5, 5, 3}, 4)},
                                                   {"auto", abs(normal({4, 5, 5, 3}, 5))}}) {
    const std::string& scheme = row.first;
    const Tensor& x = row.second;
    for (const std::string per : {"tensor", "channel"}) {
      CAPTURE(scheme);
      CAPTURE(per);
      nn::Layer q =
          make("uniform:8", Role::activation, x.shape(), {{"scheme", scheme}, {"per", per}});
      calibrated(q, x);
      const Tensor y = q(x);
      const std::vector<ScaleZero> p = q.as<GridQuantizer>()->parameters();
      CHECK(p.size() == (per == "tensor" ? 1 : 3));
      bool within = true;
      for (int64_t i = 0; i < x.numel(); ++i) {
        const float s = p[per == "tensor" ? 0 : static_cast<size_t>(i % 3)].scale;
        // The largest magnitude lies half a step beyond the largest code; a zero point is rounded.
        within = within && std::fabs(y.data()[i] - x.data()[i]) <= s * 1.001f;
      }
      CHECK(within);
    }
  }
}

TEST_CASE("automatic codes: decided by calibration, kept in the state dict") {
  const Tensor positive = abs(normal({2, 4, 4, 3}, 6));
  nn::Layer q = make("lsq:4", Role::activation, positive.shape());
  CHECK(q.as<GridQuantizer>()->grid() == Grid::with_sign(4));
  calibrated(q, positive);
  CHECK(q.as<GridQuantizer>()->grid() == Grid::without_sign(4));
  CHECK(contains(q->describe(), "auto: unsigned"));
  nn::Layer other = make("lsq:4", Role::activation, positive.shape());
  nn::load_state_dict(other, nn::state_dict(q));
  CHECK(other.as<GridQuantizer>()->grid() == Grid::without_sign(4));
  CHECK(other(positive) == q(positive));
  calibrated(q, positive * -1.0f);
  CHECK(q.as<GridQuantizer>()->grid() == Grid::with_sign(4));
  nn::Layer fixed = make("lsq:4", Role::activation, positive.shape(), {{"scheme", "unsigned"}});
  CHECK(contains(message_of([&] { calibrated(fixed, positive * -1.0f); }), "negative"));
}

TEST_CASE("lsq: the first step and the scaled gradient of the paper") {
  const Tensor v = normal({8, 3, 3, 5}, 7);
  nn::Layer q = make("lsq:3", Role::weight, v.shape());
  calibrated(q, v);
  double sum = 0;
  for (const float x : v.span()) sum += std::fabs(x);
  const float step = static_cast<float>(2 * sum / static_cast<double>(v.numel()) / std::sqrt(3.0));
  CHECK(named(q, "step").item() == doctest::Approx(step).epsilon(1e-6));
  Tensor w = v.clone();
  w.requires_grad_();
  const Tensor dy = normal(v.shape(), 8);
  q(w).backward(dy);
  double ds = 0;
  for (int64_t i = 0; i < v.numel(); ++i) {
    const double t = v.data()[i] / named(q, "step").item(), u = std::nearbyint(t);
    const bool inside = u >= -4 && u <= 3;
    CHECK(w.grad().data()[i] == (inside ? dy.data()[i] : 0));
    ds += dy.data()[i] * (inside ? u - t : u < 0 ? -4 : 3);
  }
  ds /= std::sqrt(static_cast<double>(v.numel()) * 3);
  CHECK(named(q, "step").grad().item() == doctest::Approx(ds).epsilon(1e-4));
}

TEST_CASE("lsq: two bits with narrow codes are three values") {
  const Tensor v = normal({6, 3, 3, 8}, 8);
  nn::Layer q = make("lsq:2", Role::weight, v.shape(), {{"codes", "narrow"}, {"per", "channel"}});
  calibrated(q, v);
  const Tensor y = q(v);
  for (int64_t f = 0; f < 6; ++f) {
    const float step = q.as<GridQuantizer>()->parameters()[static_cast<size_t>(f)].scale;
    int64_t negative = 0, positive = 0;
    for (int64_t i = 0; i < 72; ++i) {
      const float code = y.data()[f * 72 + i] / step;
      CHECK(std::fabs(code - std::round(code)) < 1e-6f);
      CHECK(std::fabs(code) < 1.5f);
      negative += code<-0.5f, positive += code> 0.5f;
    }
    CHECK(negative > 5);
    CHECK(positive > 5);
  }
}

TEST_CASE("lsq+: weights start at three sigma, activations learn a zero point within the codes") {
  const Tensor w = normal({4, 3, 3, 6}, 9, 0.1f) + 0.05f;
  nn::Layer q = make("lsq+:4", Role::weight, w.shape());
  calibrated(q, w);
  const Tensor row = slice(w, 0, 2, 3);
  const float mean_ = mean(row).item(), sigma = std::sqrt(var(row).item());
  const float ends = std::max(std::fabs(mean_ - 3 * sigma), std::fabs(mean_ + 3 * sigma));
  CHECK(named(q, "step").data()[2] == doctest::Approx(2 * ends / 15).epsilon(1e-5));

  const Tensor x = normal({4, 6, 6, 3}, 10) + 0.5f;
  nn::Layer a = make("lsq+:2", Role::activation, x.shape());
  calibrated(a, x);
  a(x).backward(normal(x.shape(), 11));
  CHECK(named(a, "zero").grad().item() != 0);
  named(a, "zero").fill_(9);  // beyond the codes: used as 3, and held there
  named(a, "zero").zero_grad();
  a(x).backward(normal(x.shape(), 11));
  CHECK(a.as<GridQuantizer>()->parameters()[0].zero == 3);
  CHECK(named(a, "zero").grad().item() == 0);
}

TEST_CASE("pact: the level, or the data, says where to clip") {
  const Tensor x = abs(normal({2, 5, 5, 3}, 12, 3));
  nn::Layer q = make("pact:4", Role::activation, x.shape());
  calibrated(q, x);
  CHECK(named(q, "alpha").item() == 10);
  nn::Layer data = make("pact:4", Role::activation, x.shape(), {{"clip", "0"}});
  calibrated(data, x);
  CHECK(named(data, "alpha").item() == max(x).item());
  const Tensor y = data(x);
  CHECK(max(y).item() == doctest::Approx(max(x).item()));
  // With signs, a itself is a code and gets no gradient beyond it.
  nn::Layer both = make("pact:4", Role::activation, {4}, {{"scheme", "symmetric"}, {"clip", "2"}});
  calibrated(both, Tensor::of({-1, 1}));
  Tensor v = Tensor::of({-3, -2, 2, 3});
  v.requires_grad_();
  const Tensor z = both(v);
  CHECK(close(z, Tensor::of({-2, -2, 2, 2}), {.absolute = 1e-6}));
  z.backward(Tensor::of({1, 2, 4, 8}));
  CHECK(v.grad() == Tensor::of({0, 2, 4, 0}));
  CHECK(named(both, "alpha").grad().item() == 7);
}

TEST_CASE("iao: the range follows the data while training, and only then") {
  const Tensor a = Tensor::of({-1, 0.5f, 2}), b = Tensor::of({-3, 1, 1});
  nn::Layer q = make("iao:8", Role::activation, {3});
  q(a);
  CHECK(named(q, "min").item() == -1);
  CHECK(named(q, "max").item() == 2);
  q(b);
  CHECK(named(q, "min").item() == doctest::Approx(-1.2));
  CHECK(named(q, "max").item() == doctest::Approx(1.9));
  q->training = false;
  q(b);
  CHECK(named(q, "max").item() == doctest::Approx(1.9));
  q->training = true;
  q.as<Quantizer>()->frozen = true;
  q(b);
  CHECK(named(q, "max").item() == doctest::Approx(1.9));

  nn::Layer w = make("iao:8", Role::weight, {1, 3});
  w(a.reshape({1, 3}));
  w(Tensor::of(std::vector<float>{0, 0, 0.1f}, {1, 3}));
  CHECK(named(w, "max").item() == 2);  // never shrinks
  nn::Layer p =
      make("iao:8", Role::activation, {3}, {{"range", "percentile"}, {"percentile", "0.7"}});
  p(b);
  CHECK(named(p, "min").item() == 0);
  CHECK(named(p, "max").item() == 1);  // the second of 1, 1, 3
}

TEST_CASE("adaround: as soft as the weight, hard in eval mode, and its two gradients") {
  const Tensor w0 = normal({3, 2, 2, 4}, 13, 0.3f);
  nn::Layer q = make("adaround:4", Role::weight, w0.shape());
  calibrated(q, w0);
  const auto& a = *q.as<AdaRound>();
  Tensor w = w0.clone();
  w.requires_grad_();
  const Tensor y = q(w), dy = normal(w0.shape(), 14);
  y.backward(dy);
  const std::vector<ScaleZero> p = a.parameters();
  for (int64_t i = 0; i < w0.numel(); ++i) {
    const float s = p[static_cast<size_t>(i / 16)].scale, t = w0.data()[i] / s;
    const bool inside = t >= -8 && t <= 7;
    CHECK(y.data()[i] == doctest::Approx(s * std::clamp(t, -8.0f, 7.0f)).epsilon(1e-4));
    CHECK(w.grad().data()[i] == (inside ? dy.data()[i] : 0));
    // h' = 1.2 sigma (1 - sigma) where 0 < h < 1.
    const double sigma = 1 / (1 + std::exp(-double{a.round.data()[i]}));
    const double want = inside ? dy.data()[i] * s * 1.2 * sigma * (1 - sigma) : 0;
    CHECK(a.round.grad().data()[i] == doctest::Approx(want).epsilon(1e-3));
  }
  q->training = false;
  const Tensor hard = q(w0);
  for (int64_t i = 0; i < w0.numel(); ++i) {
    const float s = p[static_cast<size_t>(i / 16)].scale;
    const float nearest = std::clamp(std::floor(w0.data()[i] / s + 0.5f), -8.0f, 7.0f);
    CHECK(hard.data()[i] == doctest::Approx(s * nearest));
  }
}

TEST_CASE("adaround: the penalty on indecision is differentiated") {
  const Tensor w = normal({2, 1, 1, 8}, 15, 0.3f);
  nn::Layer q = make("adaround:4", Role::weight, w.shape());
  calibrated(q, w);
  auto& a = *q.as<AdaRound>();
  a.indecision(4).backward();
  const Tensor slope = a.round.grad();
  NoGrad guard;
  for (int64_t i = 0; i < w.numel(); ++i) {
    constexpr float kEps = 1e-2f;
    float& v = a.round.data()[i];
    const float kept = v;
    v = kept + kEps;
    const double up = a.indecision(4).item();
    v = kept - kEps;
    const double down = a.indecision(4).item();
    v = kept;
    CHECK(slope.data()[i] == doctest::Approx((up - down) / (2 * kEps)).epsilon(0.01));
  }
}

TEST_CASE("all of them: zeros, constants, single pixels and batch 1 give numbers") {
  for (const auto& [text, role] : all_grid_quantizers()) {
    for (const Shape& shape :
         {Shape{1, 1, 1, 1}, Shape{1, 1, 1, 3}, Shape{1, 4, 4, 2}, Shape{5, 3}}) {
      for (const float value : {0.0f, 1e-30f, 2.5f, -2.5f, 1e20f}) {
        const std::string name = text;
        CAPTURE(name);
        CAPTURE(value);
        Tensor x = Tensor::full(shape, value);
        if (shape.numel() > 4) x.data()[1] = -value;
        nn::Layer q = make(text, role, shape);
        x.requires_grad_();
        const Tensor y = q(x);  // a training forward calibrates
        y.backward(Tensor::ones(shape));
        bool numbers = true;
        for (const float v : y.span()) numbers = numbers && std::isfinite(v);
        for (const float v : x.grad().span()) numbers = numbers && std::isfinite(v);
        for (const nn::NamedTensor& p : nn::parameters(q)) {
          for (const float v : p.tensor.grad().span()) numbers = numbers && std::isfinite(v);
        }
        CHECK(numbers);
      }
    }
  }
}

TEST_CASE("all of them: a filter of zeros among others") {
  for (const auto& [text, role] : all_grid_quantizers()) {
    if (role != Role::weight) continue;
    const std::string name = text;
    CAPTURE(name);
    Tensor w = normal({3, 2, 2, 4}, 16);
    std::fill_n(w.data() + 16, 16, 0.0f);
    w.requires_grad_();
    nn::Layer q = make(text, role, w.shape());
    const Tensor y = q(w);
    y.backward(Tensor::ones(w.shape()));
    for (int64_t i = 16; i < 32; ++i) CHECK(y.data()[i] == 0);
    for (const float v : w.grad().span()) CHECK(std::isfinite(v));
  }
}

TEST_CASE("all of them: learned parameters exist from construction; copies are their own") {
  for (const auto& [text, role] : all_grid_quantizers()) {
    const std::string name = text;
    CAPTURE(name);
    const Tensor x = normal({4, 3, 3, 5}, 17);
    nn::Layer q = make(text, role, x.shape());
    const auto keys = [&] {
      std::vector<std::string> all;
      for (const auto& [key, t] : nn::state_dict(q)) all.push_back(str(key, t.shape()));
      return all;
    };
    const std::vector<std::string> before = keys();
    const nn::Layer fresh = q;
    calibrated(q, x);
    CHECK(keys() == before);
    CHECK(named(q, "calibrated").item() == 1);
    CHECK(named(fresh, "calibrated").item() == 0);
  }
}

TEST_CASE("all of them: the same bits with 1 and 5 threads") {
  for (const auto& [text, role] : all_grid_quantizers()) {
    const std::string name = text;
    CAPTURE(name);
    const auto run = [&](int threads, const std::string& quantizer, Role side) {
      set_num_threads(threads);
      Tensor x = normal({8, 16, 16, 24}, 18);
      x.requires_grad_();
      nn::Layer q = make(quantizer, side, x.shape());
      const Tensor y = q(x);
      y.backward(normal(x.shape(), 19));
      std::vector<Tensor> all = {y, x.grad()};
      for (const nn::NamedTensor& p : nn::parameters(q)) all.push_back(p.tensor.grad());
      set_num_threads(0);
      return all;
    };
    CHECK(run(1, text, role) == run(5, text, role));
  }
}

TEST_CASE("combinations that make no sense are refused with the reason") {
  const auto says = [](const std::string& text, Role role, const Options& options = {}) {
    return message_of([&] { checked(parse_quantizer(text, role, options)); });
  };
  const Role w = Role::weight, a = Role::activation;
  CHECK(contains(says("lsq:4", a, {{"scheme", "affine"}}), "lsq+ does"));
  CHECK(contains(says("lsq:4", w, {{"scheme", "unsigned"}}), "both signs"));
  CHECK(contains(says("lsq+:4", w, {{"per", "tensor"}}), "its own step"));
  CHECK(contains(says("lsq+:4", a, {{"scheme", "symmetric"}}), "say lsq"));
  CHECK(contains(says("lsq+:4", a, {{"per", "channel"}}), "whole activation"));
  CHECK(contains(says("pact:4", w), "dorefa or lsq"));
  CHECK(contains(says("pact:4", a, {{"per", "channel"}}), "one clipping level"));
  CHECK(contains(says("pact:4", a, {{"scheme", "affine"}}), "zero point is 0"));
  CHECK(contains(says("pact:4", a, {{"observer", "mse"}}), "clip=0"));
  CHECK(says("pact:4", a, {{"observer", "mse"}, {"clip", "0"}}).empty());
  CHECK(contains(says("adaround:4", a), "activations come anew"));
  CHECK(contains(says("adaround:4", w, {{"scheme", "affine"}, {"codes", "narrow"}}), "symmetric"));
  CHECK(contains(says("iao:8", a, {{"per", "channel"}}), "one range"));
  CHECK(contains(says("iao:8", w, {{"range", "percentile"}}), "outliers"));
  CHECK(contains(says("iao:8", a, {{"range", "percentile"}, {"scheme", "affine"}}), "symmetric"));
  CHECK(contains(says("iao:8", a, {{"percentile", "0.9"}}), "no effect"));
  CHECK(contains(says("iao:8", w, {{"momentum", "0.5"}}), "no effect"));
  CHECK(contains(says("uniform:1", w), "2 to 16 bits"));
  CHECK(contains(says("uniform:17", w), "2 to 16 bits"));
  CHECK(contains(says("uniform", w), "got none"));
  CHECK(contains(says("binary:2", w), "no bits to choose"));
  CHECK(contains(says("uniform:8", a, {{"scheme", "affine"}, {"codes", "narrow"}}), "symmetric"));
  CHECK(contains(says("uniform:8", w, {{"per", "pixel"}}), "channel, tensor"));
  CHECK(contains(
      message_of([] {
        make_quantizer(parse_quantizer("uniform:8", Role::activation, {{"per", "channel"}}), {});
      }),
      "per=tensor"));
}

}  // namespace
}  // namespace pare
