#include "quant/profile.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "models/models.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "quant/calibrate.h"
#include "quant/config.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using namespace quant;
using test::contains, test::message_of;

Tensor images(uint64_t seed, int64_t n = 4) {
  Rng rng(seed);
  return Tensor::normal({n, 16, 16, 3}, rng);
}

nn::Layer conv(int64_t in, int64_t out) {
  return nn::Conv2d({.in = in, .out = out, .kernel = 3, .pad = 1});
}

/// Two convolutions with weights of so many bits.
nn::Layer two(int bits) {
  nn::Layer model = nn::Sequential({conv(3, 4), nn::ReLU(), conv(4, 4)});
  Rng rng(1);
  nn::init(model, rng);
  attach(model, [&](const LayerInfo& info) -> Spec {
    return {.weight = weights("uniform:" + std::to_string(bits), info)};
  });
  calibrate(model, {images(2)});
  return model;
}

nn::Layer resnet(const std::string& scheme, bool sums) {
  models::Options o;
  o.widths = {4, 8, 8};
  o.image = {16, 16, 3};
  nn::Layer model = models::make("resnet20", o);
  Rng rng(1);
  nn::init(model, rng, models::init_options("resnet20"));
  Config config = config_of(parse_scheme(scheme));
  config.rules.sums = sums;
  prepare(model, config, Tensor::zeros({1, 16, 16, 3}));
  calibrate(model, {images(2)});
  return model;
}

TEST_CASE("profile: errors are those of the formulas, written out for two layers") {
  nn::Layer model = two(3);
  const std::vector<Tensor> batches = {images(3), images(4)};
  const Profile p = profile(model, batches);
  REQUIRE(p.rows.size() == 2);
  CHECK(p.rows[0].path == "0");
  CHECK(p.rows[1].path == "2");
  const auto& layers = model.as<nn::Sequential>()->layers;
  const auto *first = layers[0].as<nn::Conv2d>(), *second = layers[2].as<nn::Conv2d>();
  const NoGrad guard;
  double error = 0, wanted = 0, got = 0, both = 0, later = 0;
  int64_t values = 0;
  for (const Tensor& x : batches) {
    const auto run = [&](const nn::Conv2d& c, const Tensor& in, bool quantized) {
      return conv2d(in, quantized ? c.weight_fn(c.weight) : c.weight, c.bias, {.pad = 1});
    };
    const Tensor y = run(*first, x, false), q = run(*first, x, true);
    const Tensor end = run(*second, relu(y), false), end_q = run(*second, relu(q), true);
    for (int64_t i = 0; i < y.numel(); ++i) {
      const double w = y.data()[i], g = q.data()[i];
      error += (g - w) * (g - w), wanted += w * w, got += g * g, both += w * g;
      later += std::pow(double{end_q.data()[i]} - end.data()[i], 2);
    }
    values += y.numel();
  }
  const ValueError& e = p.rows[0].alone;
  CHECK(e.mse == doctest::Approx(error / static_cast<double>(values)).epsilon(1e-5));
  CHECK(e.cosine == doctest::Approx(both / std::sqrt(wanted * got)).epsilon(1e-6));
  CHECK(e.sqnr == doctest::Approx(10 * std::log10(wanted / error)).epsilon(1e-5));
  // The first layer reads the images either way.
  CHECK(p.rows[0].cumulative.mse == doctest::Approx(e.mse).epsilon(1e-5));
  CHECK(p.rows[1].cumulative.mse ==
        doctest::Approx(later / static_cast<double>(values)).epsilon(1e-4));
  CHECK(p.rows[1].cumulative.mse > p.rows[1].alone.mse);
}

TEST_CASE("profile: more bits, less error; 16 bits are nearly exact") {
  nn::Layer coarse = two(3), fine = two(8), finest = two(16);
  const double a = profile(coarse, {images(3)}).rows[1].alone.sqnr,
               b = profile(fine, {images(3)}).rows[1].alone.sqnr,
               c = profile(finest, {images(3)}).rows[1].alone.sqnr;
  CHECK(b > a + 20);  // 6 dB each
  CHECK(c > b + 35);
}

TEST_CASE("profile: the model and the modes of its quantizers stay as they were") {
  nn::Layer model = resnet("uniform:W4A4,keep=none", true);
  set_mode(model, Quantizer::Mode::off);
  const auto output = [&] {
    const nn::EvalMode eval(model);
    const NoGrad guard;
    return model(images(7));
  };
  const Tensor before = output();
  const Profile p = profile(model, {images(3)});
  const Tensor after = output();
  CHECK(std::equal(before.data(), before.data() + before.numel(), after.data()));
  CHECK(model->training);
  // Layers, operands of sums and the pool, in the order in which they run.
  CHECK(p.rows.size() == 22 + 2 * 9 + 1);
  CHECK(p.rows.front().path == "conv1");
  CHECK(p.rows.back().path == "linear");
  for (const Profile::Row& r : p.rows) {
    CAPTURE(r.path);
    CHECK(r.alone.mse > 0);
    CHECK(r.alone.cosine > 0.9);
    CHECK(std::isfinite(r.cumulative.sqnr));
  }
}

TEST_CASE("profile: a metric of one's own is the mean over the batches") {
  nn::Layer model = two(4);
  const ProfileOptions options{.metric = [](const Tensor& y, const Tensor& q) {
    return static_cast<double>(q.dim(0)) + 0 * double{y.data()[0]};
  }};
  const Profile p = profile(model, {images(3, 2), images(4, 6)}, options);
  CHECK(p.rows[0].metrics == std::vector<double>{4, 4});
  CHECK(contains(str(p), "metric alone"));
}

TEST_CASE("profile: constants give no NaN, and a float model is refused") {
  nn::Layer model = two(4);
  const Profile p = profile(model, {Tensor::zeros({1, 1, 1, 3})});
  for (const Profile::Row& r : p.rows) {
    CHECK(std::isfinite(r.alone.mse));
    CHECK(std::isfinite(r.alone.cosine));
    CHECK_FALSE(std::isnan(r.alone.sqnr));
  }
  nn::Layer plain = nn::Sequential({conv(3, 4)});
  CHECK(contains(message_of([&] { profile(plain, {images(1)}); }), "no quantizer"));
  CHECK(contains(message_of([&] { profile(model, {}); }), "no images"));
}

}  // namespace
}  // namespace pare
