#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "quant/registry.h"
#include "quant/sketch.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using namespace quant;
using test::contains, test::message_of;

Tensor normal(const Shape& shape, uint64_t seed, float size = 1) {
  Rng rng(seed);
  return Tensor::normal(shape, rng, 0, size);
}

std::shared_ptr<Observer> make(const std::string& name, ObserverSetup setup = {},
                               const Options& options = {}) {
  const ObserverInfo& info = find_observer(name);
  setup.options = complete(info.options, options, name);
  return info.make(setup);
}

const Target kEightBits{Grid::with_sign(8), false};

Interval range_of(const std::string& name, const Tensor& x, const Target& target = kEightBits,
                  const Options& options = {}) {
  const auto observer = make(name, {}, options);
  observer->observe(x);
  return observer->ranges(target)[0];
}

TEST_CASE("minmax: running extremes of tensor, filters and channels") {
  const Tensor a = Tensor::of(std::vector<float>{1, -2, 3, 4}, {2, 2}),
               b = Tensor::of(std::vector<float>{0, 5, -7, 2}, {2, 2});
  const auto ranges = [&](QuantShare share, int64_t groups) {
    const auto observer = make("minmax", {.share = share, .groups = groups});
    observer->observe(a);
    observer->observe(b);
    std::vector<float> flat;
    for (const Interval& i : observer->ranges(kEightBits)) flat.insert(flat.end(), {i.min, i.max});
    return flat;
  };
  CHECK(ranges(QuantShare::tensor, 1) == std::vector<float>{-7, 5});
  CHECK(ranges(QuantShare::filter, 2) == std::vector<float>{-2, 5, -7, 4});
  CHECK(ranges(QuantShare::channel, 2) == std::vector<float>{-7, 3, -2, 5});
}

TEST_CASE("moving_average: sample by sample, the first copied") {
  const Tensor x = Tensor::of(std::vector<float>{-1, 2, -3, 4, -5, 8}, {3, 2});
  const Interval r = range_of("moving_average", x, kEightBits, {{"ema", "0.5"}});
  CHECK(r.min == -3.5f);  // -1, then -2, then -3.5
  CHECK(r.max == 5.5f);   // 2, then 3, then 5.5
}

TEST_CASE("percentile: each sign loses its own share") {
  Tensor x = Tensor::uninit({1000});
  for (int i = 0; i < 1000; ++i) x.data()[i] = static_cast<float>(i - 200);  // -200 .. 799
  const Interval r = range_of("percentile", x, kEightBits, {{"tail", "0.05"}});
  CHECK(r.min == -191);  // the 10th smallest
  CHECK(r.max == 759);   // 40 of 800 left out
  const Interval none = range_of("percentile", x, kEightBits, {{"tail", "0"}});
  CHECK(none.min == -200);
  CHECK(none.max == 799);
  CHECK(range_of("percentile", Tensor::of({1, 2, 3})).min == 0);
  CHECK(range_of("percentile", Tensor::of({-1, -2, -3})).max == 0);
}

TEST_CASE("mse: none of the 80 ranges is better") {
  const Tensor x = normal({4000}, 1);
  for (const bool affine : {false, true}) {
    const Target target{affine ? Grid::without_sign(3) : Grid::with_sign(3), affine};
    const auto error = [&](Interval r) {
      const ScaleZero p = fit(r, target.grid, affine);
      double total = 0;
      for (const float v : x.span()) {
        const float code =
            std::clamp(std::nearbyint(v / p.scale) + p.zero, target.grid.lo, target.grid.hi);
        total += std::pow(double{(code - p.zero) * p.scale} - v, 2);
      }
      return total;
    };
    const auto [lo, hi] = std::minmax_element(x.span().begin(), x.span().end());
    const double ours = error(range_of("mse", x, target));
    CHECK(ours < 0.8 * error({*lo, *hi}));  // clipping pays at 3 bits
    for (int i = 0; i < 80; ++i) {
      const float keep = 1 - 0.01f * static_cast<float>(i);
      CHECK(ours <= error({*lo * keep, *hi * keep}) * (1 + 1e-6));
    }
  }
}

/// TensorRT's rule, written down as in the talk: build P, build Q, compare.
float tensorrt_threshold(const Tensor& x, int levels) {
  constexpr int kBins = 2048;
  double largest = 0;
  for (const float v : x.span()) largest = std::max(largest, std::fabs(double{v}));
  std::vector<double> histogram(kBins);
  for (const float v : x.span()) {
    const int bin = static_cast<int>(std::fabs(v) / (largest / kBins));
    histogram[static_cast<size_t>(std::min(bin, kBins - 1))] += 1;
  }
  double least = std::numeric_limits<double>::infinity();
  int best = kBins;
  for (int i = levels; i <= kBins; ++i) {
    std::vector<double> kept(histogram.begin(), histogram.begin() + i), p = kept, q(p.size());
    for (int k = i; k < kBins; ++k) p.back() += histogram[static_cast<size_t>(k)];
    for (int level = 0; level < levels; ++level) {
      const size_t from = static_cast<size_t>(level * i / levels);
      const size_t to = static_cast<size_t>((level + 1) * i / levels);
      double mass = 0, filled = 0;
      for (size_t k = from; k < to; ++k) mass += kept[k], filled += p[k] > 0;
      for (size_t k = from; k < to; ++k) q[k] = p[k] > 0 ? mass / filled : 0;
    }
    double p_sum = 0, q_sum = 0, divergence = 0;
    for (const double v : p) p_sum += v;
    for (const double v : q) q_sum += v;
    for (size_t k = 0; k < p.size(); ++k) {
      if (p[k] > 0) divergence += p[k] / p_sum * std::log((p[k] / p_sum) / (q[k] / q_sum));
    }
    if (divergence < least) least = divergence, best = i;
  }
  return static_cast<float>((best + 0.5) * largest / kBins);
}

TEST_CASE("kl: TensorRT's threshold, at several widths and shapes of data") {
  const Tensor gauss = normal({20000}, 2);
  Tensor laplace = normal({20000}, 3), spiked = gauss.clone();
  for (float& v : laplace.span()) v = std::copysign(v * v, v);
  for (int64_t i = 0; i < 5; ++i) spiked.data()[i] = 40 + static_cast<float>(i);
  std::vector<float> shares;
  for (const Tensor* x : std::initializer_list<const Tensor*>{&gauss, &laplace, &spiked}) {
    float largest = 0;
    for (const float v : x->span()) largest = std::max(largest, std::fabs(v));
    for (const int bits : {4, 8}) {
      CAPTURE(bits);
      const Target target{Grid::with_sign(bits), false};
      const float want = std::min(tensorrt_threshold(*x, 1 << (bits - 1)), largest);
      const Interval r = range_of("kl", *x, target);
      CHECK(std::max(-r.min, r.max) == doctest::Approx(want).epsilon(1e-5));
      if (bits == 8) shares.push_back(std::max(-r.min, r.max) / largest);
    }
  }
  // The defect of the system we replace: one share for all data.
  CHECK(std::fabs(shares[0] - shares[1]) > 0.02f);
  CHECK(shares[2] < 0.2f);  // five outliers do not stretch the range
  // Without a sign all levels are on one side; nothing negative is asked for.
  const Tensor positive = abs(gauss);
  const Interval r = range_of("kl", positive, {Grid::without_sign(4), true});
  CHECK(r.min >= 0);
  CHECK(r.max == doctest::Approx(tensorrt_threshold(positive, 16)).epsilon(1e-5));
  // Zeros say nothing about the range, however many there are.
  Tensor sparse = Tensor::zeros({60000});
  std::copy_n(positive.data(), positive.numel(), sparse.data());
  const Interval s = range_of("kl", sparse, {Grid::without_sign(4), true});
  CHECK(s.max == r.max);
}

TEST_CASE("aciq: multiples of the estimated width") {
  const Tensor x = normal({8, 1000}, 4), positive = abs(x);
  double mean = 0, deviation = 0;
  for (const float v : x.span()) mean += v;
  mean /= 8000;
  for (const float v : x.span()) deviation += std::fabs(v - mean);
  deviation /= 8000;
  const Options laplace = {{"distribution", "laplace"}};
  const Interval l = range_of("aciq", x, {Grid::with_sign(4), false}, laplace);
  CHECK(l.max == doctest::Approx(5.03 * deviation).epsilon(1e-5));
  CHECK(l.min == -l.max);
  CHECK(range_of("aciq", positive, {Grid::without_sign(4), true}, laplace).min == 0);
  // One sample has 1000 values: sigma = (max - min) 0.5402 / sqrt(2 ln 1000).
  const auto [lo, hi] = std::minmax_element(x.span().begin(), x.span().end());
  const double sigma = (double{*hi} - *lo) * 0.5402 / std::sqrt(2 * std::log(1000.0));
  const Interval g = range_of("aciq", x, {Grid::with_sign(8), false});
  CHECK(g.max == doctest::Approx(3.92 * sigma).epsilon(1e-3));
}

TEST_CASE("observers: one range per group is the range of each group alone") {
  const Tensor x = normal({6, 3, 3, 4}, 5);
  for (const ObserverInfo& info : observers()) {
    if (info.name == "moving_average") continue;  // whole activations only
    for (const bool filter : {true, false}) {
      CAPTURE(info.name);
      const int axis = filter ? 0 : 3;
      const auto all = make(info.name, {.role = Role::weight,
                                        .share = filter ? QuantShare::filter : QuantShare::channel,
                                        .groups = x.dim(axis)});
      all->observe(x);
      const std::vector<Interval> ranges = all->ranges(kEightBits);
      if (info.name == "aciq") continue;  // sigma's N is the whole weight's
      for (int64_t g = 0; g < x.dim(axis); ++g) {
        const auto one = make(info.name, {.role = Role::weight});
        one->observe(slice(x, axis, g, g + 1));
        CHECK(ranges[static_cast<size_t>(g)].min == one->ranges(kEightBits)[0].min);
        CHECK(ranges[static_cast<size_t>(g)].max == one->ranges(kEightBits)[0].max);
      }
    }
  }
}

TEST_CASE("observers: batches add up to the whole, for any number of threads") {
  const Tensor x = normal({40, 500}, 6);
  for (const ObserverInfo& info : observers()) {
    CAPTURE(info.name);
    const auto whole = make(info.name), parts = make(info.name);
    set_num_threads(1);
    whole->observe(x);
    const Interval want = whole->ranges(kEightBits)[0];
    set_num_threads(3);
    for (int64_t i = 0; i < 40; i += 8) parts->observe(slice(x, 0, i, i + 8));
    const Interval got = parts->ranges(kEightBits)[0];
    set_num_threads(0);
    CHECK(got.min == want.min);
    CHECK(got.max == want.max);
  }
}

TEST_CASE("observers: zeros, constants and a single value give finite ranges") {
  for (const ObserverInfo& info : observers()) {
    for (const Tensor& x : {Tensor::zeros({2, 3}), Tensor::full({2, 3}, 7),
                            Tensor::full({1}, -1e-30f), Tensor::full({2, 2}, 3e38f)}) {
      CAPTURE(info.name);
      CAPTURE(x.data()[0]);
      for (const Target& t : {kEightBits, Target{Grid::without_sign(4), true}}) {
        const Interval r = range_of(info.name, x, t);
        CHECK(std::isfinite(r.min));
        CHECK_FALSE(std::isnan(r.max));
        const ScaleZero p = fit(r, t.grid, t.affine);
        CHECK(p.scale > 0);
        CHECK_FALSE(std::isnan(p.zero));
      }
    }
    Tensor nan = Tensor::ones({4});
    nan.data()[2] = std::numeric_limits<float>::quiet_NaN();
    CHECK(contains(message_of([&] { range_of(info.name, nan); }), "not finite"));
    CHECK(contains(message_of([&] { range_of(info.name, {}); }), "empty"));
  }
}

TEST_CASE("sketch: exact while small; bounded, and within a bin, when large") {
  Sketch exact(100, 64);
  for (int i = 0; i < 100; ++i) exact.add(static_cast<float>((i * 37) % 100));
  CHECK(exact.items().size() == 100);
  CHECK(exact.items()[99].value == 99);
  CHECK(exact.mean() == 49.5);

  constexpr int64_t kBins = 4096;
  Sketch large(1000, kBins);
  Rng rng(7);
  std::vector<float> all;
  for (int i = 0; i < 200000; ++i) {
    // The range grows tenfold twice, so that bins have to merge.
    all.push_back(rng.normal() * (i < 2000 ? 0.01f : i < 50000 ? 0.1f : 1.0f));
    large.add(all.back());
  }
  std::sort(all.begin(), all.end());
  const auto items = large.items();
  CHECK(items.size() <= kBins);
  CHECK(large.min() == all.front());
  CHECK(large.max() == all.back());
  CHECK(large.count() == 200000);
  const double width = 16.0 / kBins;  // the largest magnitude is below 8
  CHECK(std::max(-all.front(), all.back()) < 8);
  double below = 0;
  size_t checked = 0;
  for (const Sketch::Item& i : items) {
    // The value with as many below it is in this bin.
    CHECK(std::fabs(i.value - all[static_cast<size_t>(below)]) <= width);
    below += i.weight;
    ++checked;
  }
  CHECK(below == 200000);
  CHECK(checked > 1000);
}

TEST_CASE("observers: what makes no sense is refused with the reason") {
  const auto says = [](const std::string& text, Role role, const Options& options) {
    return message_of([&] { checked(parse_quantizer(text, role, options)); });
  };
  CHECK(contains(says("uniform:8", Role::weight, {{"observer", "moving_average"}}), "one sample"));
  CHECK(contains(
      says("uniform:8", Role::activation, {{"observer", "moving_average"}, {"per", "channel"}}),
      "per=tensor"));
  CHECK(contains(says("uniform:12", Role::weight, {{"observer", "kl"}}), "10 at most"));
  CHECK(contains(says("uniform:9", Role::weight, {{"observer", "aciq"}}), "8 bits"));
  CHECK(contains(says("uniform:8", Role::weight, {{"observer", "aciq"}, {"tail", "0.1"}}),
                 "tail has no effect"));
  CHECK(contains(says("uniform:8", Role::weight, {{"observer", "perzentile"}}), "percentile?"));
  CHECK(contains(says("uniform:8", Role::activation, {{"observer", "percentile"}, {"tail", "0.5"}}),
                 "below 0.5"));
}

}  // namespace
}  // namespace pare
