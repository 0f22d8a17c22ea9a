#include "datasets/mix.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "core/ops.h"
#include "datasets/datasets.h"

using namespace pare;

namespace {

constexpr int64_t kImages = 5, kSide = 12, kClasses = 4;

/// Every value of image i is i + 1; its label is i % 4.
Batch flat_batch() {
  Batch b{Tensor::uninit({kImages, kSide, kSide, 3}), Tensor::uninit({kImages})};
  const int64_t size = b.x.numel() / kImages;
  for (int64_t i = 0; i < kImages; ++i) {
    std::fill_n(b.x.data() + i * size, size, static_cast<float>(i + 1));
    b.y.data()[i] = static_cast<float>(i % kClasses);
  }
  return b;
}

float mean_of(const Tensor& x, int64_t i) {
  const int64_t size = x.numel() / x.dim(0);
  double sum = 0;
  for (int64_t k = 0; k < size; ++k) sum += x.data()[i * size + k];
  return static_cast<float>(sum / static_cast<double>(size));
}

/// The labels must say what the values show: image i is `share` of itself, the rest its partner.
float check_batch(const Batch& b) {
  REQUIRE(b.y.shape() == Shape{kImages, kClasses});
  const float share = b.y.at({1, 1});
  for (int64_t i = 0; i < kImages; ++i) {
    const int64_t j = kImages - 1 - i;
    const float own = i % kClasses == j % kClasses ? 1 : share;
    CHECK(b.y.at({i, i % kClasses}) == doctest::Approx(own));
    float sum = 0;
    for (int64_t c = 0; c < kClasses; ++c) sum += b.y.at({i, c});
    CHECK(sum == doctest::Approx(1));
    const float want = share * static_cast<float>(i + 1) + (1 - share) * static_cast<float>(j + 1);
    CHECK(mean_of(b.x, i) == doctest::Approx(want).epsilon(1e-4));
  }
  return share;
}

}  // namespace

TEST_CASE("mixup: values and labels are blended alike") {
  std::set<float> shares;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Batch b = flat_batch();
    Rng rng(seed);
    datasets::mix(b, {.mixup = 0.8f}, kClasses, rng);
    shares.insert(check_batch(b));
    CHECK(b.x.at({1, 0, 0, 0}) == b.x.at({1, kSide - 1, 5, 2}));  // everywhere
  }
  CHECK(shares.size() == 20);
}

TEST_CASE("cutmix: a rectangle changes hands, labels say how much") {
  std::set<float> shares;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Batch b = flat_batch();
    Rng rng(seed);
    datasets::mix(b, {.cutmix = 1}, kClasses, rng);
    shares.insert(check_batch(b));
    for (float v : slice(b.x, 0, 1, 2).span()) CHECK((v == 2 || v == 4));
    // Rows that have foreign pixels have them at the same columns.
    std::set<std::string> rows;
    for (int64_t i = 0; i < kSide; ++i) {
      std::string row;
      for (int64_t j = 0; j < kSide; ++j) row += b.x.at({1, i, j, 0}) == 4 ? '#' : '.';
      rows.insert(row);
    }
    CHECK(rows.size() <= 2);
  }
  CHECK(shares.size() > 10);
}

TEST_CASE("mixup or cutmix: a coin decides") {
  int cut = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Batch b = flat_batch();
    Rng rng(seed);
    datasets::mix(b, {.mixup = 1, .cutmix = 1}, kClasses, rng);
    const float first = b.x.at({0, 0, 0, 0});
    cut += first == 1 || first == 5;
  }
  CHECK(cut > 30);
  CHECK(cut < 70);
}

TEST_CASE("beta: mean 1/2, variance 1 / (8 a + 4)") {
  for (float a : {0.2f, 1.0f, 3.0f}) {
    Rng rng(5);
    constexpr int kDraws = 20000;
    double sum = 0, squares = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double v = datasets::draw_beta(a, rng);
      REQUIRE(v >= 0);
      REQUIRE(v <= 1);
      sum += v, squares += v * v;
    }
    const double mean = sum / kDraws;
    CAPTURE(a);
    CHECK(std::abs(mean - 0.5) < 0.01);
    CHECK(std::abs(squares / kDraws - mean * mean - 1 / (8 * double{a} + 4)) < 0.005);
  }
}

TEST_CASE("loader: mixed labels go into the loss") {
  const auto source = datasets::loader(datasets::load({.limit = 64}),
                                       {.batch_size = 64, .augment = {.mixup = 0.5f}});
  const Batch b = source->next().value();
  CHECK(b.y.shape() == Shape{64, 10});
  Rng rng(1);
  const Tensor z = Tensor::normal({64, 10}, rng);
  double want = 0;
  const Tensor log_p = log_softmax(z);
  for (int64_t i = 0; i < 640; ++i) want -= log_p.data()[i] * b.y.data()[i] / 64;
  CHECK(cross_entropy(z, b.y).item() == doctest::Approx(want).epsilon(1e-4));
}

TEST_CASE("loader: jitter and operations on images in memory") {
  const auto set = datasets::load({.limit = 32});
  const auto plain = datasets::loader(set, {.batch_size = 32});
  const auto odd =
      datasets::loader(set, {.batch_size = 32, .augment = {.jitter = 0.5f, .rand_ops = 1}});
  const Tensor a = plain->next()->x, b = odd->next()->x;
  CHECK_FALSE(a == b);
  for (float v : b.span()) {
    REQUIRE(v >= 0);
    REQUIRE(v <= 1);
  }
}
