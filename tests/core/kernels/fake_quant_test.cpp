#include "core/kernels/fake_quant.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "core/kernels/bounds.h"
#include "core/kernels/ref_quant.h"
#include "tests/support/close.h"
#include "tests/support/isa.h"

using namespace pare;
using namespace pare::test;

namespace {

const std::vector<FakeQuant> kGrids = {
    {.scale = 0.37f, .zero = 0, .lo = -8, .hi = 7},
    {.scale = 0.05f, .zero = 3, .lo = 0, .hi = 15},
    {.scale = 0.25f, .zero = 0, .lo = 0, .hi = 3, .rounding = Rounding::half_away},
    {.scale = 0.25f,
     .zero = 5,
     .lo = 0,
     .hi = 14,
     .min = -0.8f,
     .max = 1.1f,
     .rounding = Rounding::half_away,
     .shift_first = true},
    {.scale = 2.0f / 3, .zero = 0, .lo = 0, .hi = 3, .min = 0, .max = 2},
};

/// Multiples of 1/8 hit ties and limits exactly.
Unaligned values(int64_t n, Rng& rng) {
  Unaligned x(n, rng, -3, 3);
  for (int64_t i = 0; i < n; i += 3) x[i] = static_cast<float>(rng.below(48) - 24) / 8;
  return x;
}

}  // namespace

TEST_CASE("fake_quant equals its definition on every ISA, bit for bit") {
  for_each_isa([](std::string_view isa) {
    Rng rng(1);
    for (int64_t n : lengths_around_lanes()) {
      for (const FakeQuant& q : kGrids) {
        CAPTURE(isa);
        CAPTURE(n);
        CAPTURE(q.scale);
        const Unaligned x = values(n, rng);
        Unaligned y(n);
        kernels::fake_quant(q, x.data(), y.data(), n);
        std::vector<float> want;
        for (float v : x.span()) want.push_back(ref::fake_quant(q, v));
        CHECK(close(y.span(), want));
        CHECK(y.intact());
      }
    }
  });
}

TEST_CASE("fake_quant: codes are those of a true division, beside every tie, on every ISA") {
  for_each_isa([](std::string_view isa) {
    CAPTURE(isa);
    Rng rng(6);
    for (int round = 0; round < 300; ++round) {
      // Every tenth scale has a mantissa of ones, the hardest case for a reciprocal.
      float scale = std::ldexp(1 + rng.uniform(), static_cast<int>(rng.below(20)) - 16);
      if (round % 10 == 0) scale = std::nextafter(std::ldexp(1.0f, round / 10 - 15), 0.0f);
      const FakeQuant q{.scale = scale, .lo = -32768, .hi = 32767};
      std::vector<float> x, y(400), want;
      for (int i = 0; i < 100; ++i) {
        const float tie = (static_cast<float>(rng.below(65000) - 32500) + 0.5f) * scale;
        x.insert(x.end(), {tie, std::nextafter(tie, 1e30f), std::nextafter(tie, -1e30f),
                           rng.normal() * scale * 5});
      }
      for (float v : x) want.push_back(ref::fake_quant(q, v));
      kernels::fake_quant(q, x.data(), y.data(), 400);
      REQUIRE(y == want);
    }
  });
}

TEST_CASE("fake_quant_grad: the gradient bit for bit, the sums close, on every ISA") {
  for_each_isa([](std::string_view isa) {
    Rng rng(2);
    for (int64_t n : lengths_around_lanes()) {
      for (const FakeQuant& q : kGrids) {
        CAPTURE(isa);
        CAPTURE(n);
        const Unaligned x = values(n, rng);
        Unaligned dy(n, rng, -1, 1), dx(n);
        kernels::FakeQuantSums want;
        std::vector<float> want_dx;
        for (int64_t i = 0; i < n; ++i) {
          want_dx.push_back(ref::fake_quant_grad(q, x[i], dy[i], want));
        }
        const FakeQuant window = kernels::windowed(q);
        const kernels::FakeQuantSums got =
            kernels::fake_quant_grad(window, x.data(), dy.data(), dx.data(), n);
        CHECK(close(dx.span(), want_dx));
        CHECK(dx.intact());
        // A thousand float terms below 1 in magnitude.
        CHECK(std::abs(got.inside - want.inside) < 1e-4);
        CHECK(std::abs(got.below - want.below) < 1e-4);
        CHECK(std::abs(got.above - want.above) < 1e-4);
        // In place, and without dx.
        const kernels::FakeQuantSums same =
            kernels::fake_quant_grad(window, x.data(), dy.data(), nullptr, n);
        CHECK(same.inside == got.inside);
        kernels::fake_quant_grad(window, x.data(), dy.data(), dy.data(), n);
        CHECK(close(dy.span(), want_dx));
      }
    }
  });
}

TEST_CASE("fake_quant: the window is where gradients pass, to the last bit") {
  Rng rng(8);
  std::vector<FakeQuant> grids = kGrids;
  for (int i = 0; i < 200; ++i) {
    FakeQuant q{.scale = std::ldexp(1 + rng.uniform(), static_cast<int>(rng.below(20)) - 16),
                .zero = static_cast<float>(rng.below(256)),
                .rounding = i % 2 ? Rounding::half_away : Rounding::half_even,
                .shift_first = i % 4 < 2};
    if (i % 3 == 0) q.max = 40 * q.scale;
    grids.push_back(q);
  }
  for (const FakeQuant& q : grids) {
    const FakeQuant w = kernels::windowed(q);
    CAPTURE(q.scale);
    CAPTURE(q.zero);
    const auto passes = [&q](float x) {
      kernels::FakeQuantSums unused;
      return ref::fake_quant_grad(q, x, 1.0f, unused) == 1.0f;
    };
    CHECK(passes(w.min));
    CHECK(passes(w.max));
    CHECK(!passes(std::nextafter(w.min, -FakeQuant::kInfinity)));
    CHECK(!passes(std::nextafter(w.max, FakeQuant::kInfinity)));
  }
}

TEST_CASE("fake_quant_columns equals fake_quant, channel by channel, on every ISA") {
  for_each_isa([](std::string_view isa) {
    Rng rng(3);
    for (int64_t channels : {1, 3, 7, 8, 16, 17, 33}) {
      CAPTURE(isa);
      CAPTURE(channels);
      constexpr int64_t kRows = 11;
      const int64_t n = kRows * channels;
      const Unaligned x = values(n, rng);
      Unaligned dy(n, rng, -1, 1), y(n), dx(n);
      std::vector<float> scale, zero, min, max, sums(static_cast<size_t>(3 * channels));
      const FakeQuant grid{.lo = 0, .hi = 7};
      for (int64_t c = 0; c < channels; ++c) {
        scale.push_back(0.1f + rng.uniform());
        zero.push_back(static_cast<float>(rng.below(5)));
        FakeQuant one = grid;
        one.scale = scale.back(), one.zero = zero.back();
        min.push_back(kernels::windowed(one).min);
        max.push_back(kernels::windowed(one).max);
      }
      const kernels::FakeQuantColumns q{grid, scale.data(), zero.data(), min.data(), max.data()};
      kernels::fake_quant_columns(q, x.data(), y.data(), kRows, channels);
      kernels::fake_quant_columns_grad(q, x.data(), dy.data(), dx.data(), kRows, channels,
                                       sums.data());
      CHECK(y.intact());
      CHECK(dx.intact());
      bool equal = true;
      for (int64_t c = 0; c < channels; ++c) {
        FakeQuant one = grid;
        one.scale = scale[static_cast<size_t>(c)], one.zero = zero[static_cast<size_t>(c)];
        kernels::FakeQuantSums want;
        for (int64_t i = c; i < n; i += channels) {
          equal = equal && y[i] == ref::fake_quant(one, x[i]);
          equal = equal && dx[i] == ref::fake_quant_grad(one, x[i], dy[i], want);
        }
        CHECK(std::abs(sums[static_cast<size_t>(c)] - want.inside) < 1e-5);
        CHECK(std::abs(sums[static_cast<size_t>(channels + c)] - want.below) < 1e-5);
        CHECK(std::abs(sums[static_cast<size_t>(2 * channels + c)] - want.above) < 1e-5);
      }
      CHECK(equal);
      kernels::fake_quant_columns_grad(q, x.data(), dy.data(), dy.data(), kRows, channels, nullptr);
      CHECK(close(dy.span(), std::span<const float>(dx.span())));
    }
  });
}

TEST_CASE("fake_quant: NaN stays NaN, infinities end on the grid, on every ISA") {
  constexpr float kInf = FakeQuant::kInfinity, kNan = std::numeric_limits<float>::quiet_NaN();
  for_each_isa([](std::string_view isa) {
    CAPTURE(isa);
    const FakeQuant q{.scale = 0.5f, .lo = -4, .hi = 3};
    const std::vector<float> x = {kNan, kInf, -kInf, 1e38f};
    std::vector<float> y(4);
    kernels::fake_quant(q, x.data(), y.data(), 4);
    CHECK(std::isnan(y[0]));
    CHECK(std::vector<float>(y.begin() + 1, y.end()) == std::vector<float>{1.5f, -2.0f, 1.5f});
  });
}

TEST_CASE("bounds: smallest and largest on every ISA, NaN shown, infinities kept") {
  for_each_isa([](std::string_view isa) {
    Rng rng(4);
    for (int64_t n : lengths_around_lanes()) {
      if (n == 0) continue;
      CAPTURE(isa);
      CAPTURE(n);
      Unaligned x(n, rng, -1, 1);
      const auto span = x.span();
      const auto [lo, hi] = std::minmax_element(span.begin(), span.end());
      kernels::Bounds b = kernels::bounds(x.data(), n);
      CHECK(b.min == *lo);
      CHECK(b.max == *hi);
      const int64_t at = rng.below(n);
      x[at] = -FakeQuant::kInfinity;
      CHECK(kernels::bounds(x.data(), n).min == -FakeQuant::kInfinity);
      x[at] = std::numeric_limits<float>::quiet_NaN();
      b = kernels::bounds(x.data(), n);
      CHECK(std::isnan(b.min));
      CHECK(std::isnan(b.max));
    }
  });
}

TEST_CASE("bounds_columns: of each channel on every ISA") {
  for_each_isa([](std::string_view isa) {
    Rng rng(5);
    for (int64_t channels : {1, 5, 8, 16, 19, 40}) {
      CAPTURE(isa);
      CAPTURE(channels);
      constexpr int64_t kRows = 9;
      Unaligned x(kRows * channels, rng, -1, 1), min(channels), max(channels);
      x[4 * channels] = std::numeric_limits<float>::quiet_NaN();
      if (channels > 1) x[3 * channels + 1] = FakeQuant::kInfinity;
      kernels::bounds_columns(x.data(), kRows, channels, min.data(), max.data());
      CHECK(min.intact());
      CHECK(max.intact());
      CHECK(std::isnan(min[0]));
      CHECK(std::isnan(max[0]));
      for (int64_t c = 1; c < channels; ++c) {
        float lo = x[c], hi = x[c];
        for (int64_t r = 1; r < kRows; ++r) {
          lo = std::min(lo, x[r * channels + c]);
          hi = std::max(hi, x[r * channels + c]);
        }
        CHECK(min[c] == lo);
        CHECK(max[c] == hi);
      }
    }
  });
}
