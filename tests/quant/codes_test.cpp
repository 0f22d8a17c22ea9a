// What quantizers say of their integers is what they compute.
#include "nn/codes.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "quant/calibrate.h"
#include "quant/registry.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::quant;

namespace {

const Shape kWeight{6, 3, 3, 4};

std::shared_ptr<nn::Layer> calibrated(const std::string& text, Role role, Options options,
                                      const Tensor& x) {
  auto layer = std::make_shared<nn::Layer>(
      make_quantizer(checked(parse_quantizer(text, role, std::move(options))), {kWeight, 4}));
  auto* q = layer->as<Quantizer>();
  q->training = false;
  if (q->wants_calibration()) {
    q->observe(x);
    q->settle();
  }
  return layer;
}

/// scale (code - zero), element by element.
Tensor values(const nn::Codes& c, const std::vector<int32_t>& codes, const Shape& shape) {
  Tensor y = Tensor::uninit(shape);
  const int64_t groups = static_cast<int64_t>(c.scale.size()), run = y.numel() / groups;
  for (int64_t i = 0; i < y.numel(); ++i) {
    const auto k = static_cast<size_t>(c.share == QuantShare::channel ? i % groups : i / run);
    y.data()[i] = c.scale[k] * (static_cast<float>(codes[static_cast<size_t>(i)]) - c.zero[k]);
  }
  return y;
}

/// The formula of nn/codes.h.
std::vector<int32_t> codes_of(const nn::Codes& c, const Tensor& x) {
  std::vector<int32_t> out;
  for (float v : x.span()) {
    const float s = c.scale[0], t = c.input_scale * v / s;
    float code = v >= 0 ? 1.0f : -1.0f;
    if (c.kind == nn::Codes::Kind::ternary && std::fabs(v) <= c.threshold) code = 0;
    if (c.kind == nn::Codes::Kind::uniform) {
      const float u = c.shift_first ? t + c.zero[0] : t;
      code = c.rounding == Rounding::half_even ? std::nearbyint(u) : std::round(u);
      code = std::clamp(c.shift_first ? code : code + c.zero[0], c.lo, c.hi);
    }
    out.push_back(static_cast<int32_t>(code));
  }
  return out;
}

float gap(const Tensor& a, const Tensor& b) {
  float largest = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    largest = std::max(largest, std::fabs(a.data()[i] - b.data()[i]));
  }
  return largest;
}

}  // namespace

TEST_CASE("codes of weights give the weights back") {
  Rng rng(3);
  Tensor w = Tensor::normal(kWeight, rng, 0.02f, 0.3f);
  std::fill(w.data(), w.data() + 36, 0.0f);  // a filter of zeros
  const NoGrad guard;
  for (const char* text : {"binary", "ternary", "dorefa:1", "dorefa:4", "dorefa:7", "lsq:4",
                           "lsq+:3", "pact:4", "iao:8", "uniform:8", "uniform:2", "adaround:4"}) {
    for (const char* scheme : {"", "affine"}) {
      const std::string name = text;
      const bool grid = name.starts_with("uniform") || name.starts_with("iao");
      if (*scheme && !grid) continue;
      if (name.starts_with("pact") && !find_quantizer("pact").no_weights.empty()) continue;
      CAPTURE(text);
      CAPTURE(scheme);
      Options options;
      if (*scheme) options["scheme"] = scheme;
      const auto layer = calibrated(text, Role::weight, options, w);
      const Tensor y = (*layer)(w);
      const nn::Codes c = layer->as<nn::Coded>()->codes_for(y);
      const std::vector<int32_t> codes = nn::integers(c, y);
      CHECK(gap(values(c, codes, y.shape()), y) <= 1e-6f);
      for (int32_t code : codes) {
        REQUIRE((static_cast<float>(code) >= c.lo && static_cast<float>(code) <= c.hi));
        REQUIRE((code - static_cast<int32_t>(c.lo)) % c.spacing == 0);
      }
    }
  }
}

TEST_CASE("codes of activations are those of the formula") {
  Rng rng(4);
  const Tensor x = Tensor::normal({2, 5, 5, 4}, rng, 0.3f, 1.0f);
  const NoGrad guard;
  struct Case {
    const char* text;
    Options options = {};
  };
  for (const Case& k : {Case{"binary"}, Case{"ternary"}, Case{"dorefa:3"},
                        Case{"dorefa:8", {{"form", "micronet"}}}, Case{"lsq:4"}, Case{"lsq+:4"},
                        Case{"pact:4"}, Case{"iao:8"}, Case{"iao:4", {{"scheme", "affine"}}},
                        Case{"uniform:8"}, Case{"uniform:5", {{"scheme", "symmetric"}}}}) {
    CAPTURE(k.text);
    const auto layer = calibrated(k.text, Role::activation, k.options, x);
    const nn::Codes c = layer->as<nn::Coded>()->codes_for({});
    CHECK(gap(values(c, codes_of(c, x), x.shape()), (*layer)(x)) <= 2e-6f);
  }
}

TEST_CASE("a value off the grid has no code") {
  const nn::Codes c{.bits = 2, .lo = 0, .hi = 3, .scale = {0.5f}};
  CHECK(nn::integers(c, Tensor::of({0, 0.5f, 1.5f})) == std::vector<int32_t>{0, 1, 3});
  CHECK(test::contains(test::message_of([&] { nn::integers(c, Tensor::of({2})); }),
                       "codes run from 0 to 3"));
}
