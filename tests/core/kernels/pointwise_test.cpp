#include "core/kernels/pointwise.h"

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <vector>

#include "core/kernels/ref.h"
#include "tests/support/close.h"
#include "tests/support/isa.h"

using namespace pare;
using namespace pare::test;
using Kind = Pointwise::Kind;

namespace {

/// Single operations in a fixed order: the same bits everywhere.
const std::vector<Pointwise> kExact = {
    {.kind = Kind::identity},
    {.kind = Kind::relu},
    {.kind = Kind::leaky_relu, .a = 0.1f},
    {.kind = Kind::relu6},
    {.kind = Kind::hard_swish},
    {.kind = Kind::clamp, .a = -0.7f, .b = 1.3f},
    {.kind = Kind::sign, .ste = Ste::identity},
    {.kind = Kind::sign, .ste = Ste::clip},
    {.kind = Kind::sign, .ste = Ste::triangle},
    {.kind = Kind::sign, .ste = Ste::poly},
    {.kind = Kind::ternary, .ste = Ste::clip, .a = 0.5f},
    {.kind = Kind::ternary, .ste = Ste::poly, .a = 0.3f},
    {.kind = Kind::quantize, .rounding = Rounding::half_even, .a = 1.0f, .b = 3.0f, .c = 1.0f},
    {.kind = Kind::quantize, .rounding = Rounding::half_away, .a = 0.1f, .b = 255.0f, .c = 10.0f},
    {.kind = Kind::relu_quantize, .rounding = Rounding::half_even, .a = 0.5f, .b = 7.0f, .c = 2.0f},
    {.kind = Kind::sqrt},
    {.kind = Kind::abs},
    {.kind = Kind::square},
    {.kind = Kind::round, .rounding = Rounding::half_even},
    {.kind = Kind::round, .rounding = Rounding::half_away},
};

/// Made of polynomials: value and derivative within this of the definition in double, relative to
/// themselves plus an absolute part where they pass through zero.
struct Smooth {
  Kind kind;
  float lo, hi;
  double relative, absolute;
};
const std::vector<Smooth> kSmooth = {
    {Kind::exp, -80, 88, 3e-7, 0},         // 1 ulp, and that of the reduced argument
    {Kind::log, 1e-6f, 1e6f, 4e-7, 3e-7},  // 4 ulp; relative accuracy is lost near log 1 = 0
    {Kind::tanh, -12, 12, 6e-7, 0},       {Kind::sigmoid, -30, 30, 6e-7, 0},
    {Kind::silu, -30, 30, 1e-6, 1e-7},  // the derivative has a zero at -1.28
    {Kind::gelu, -8, 8, 1e-6, 3e-7},    // Phi is fitted to 1.5e-7
};

std::vector<float> interesting() {
  std::vector<float> x = {
      0.0f,       -0.0f,       0.5f,  -0.5f,  1.5f,        2.5f, -2.5f, 0.49999997f, -0.49999997f,
      1.0f,       -1.0f,       3.0f,  -3.0f,  6.0f,        0.3f, -0.7f, 1.3f,        8388609.0f,
      8388607.5f, -4194304.5f, 1e30f, -1e30f, 0.99999994f, 5.0f, 10.0f, 1e-20f};
  Rng rng(3);
  for (int i = 0; i < 400; ++i) x.push_back(rng.uniform(-4, 4));
  for (int i = -40; i < 40; ++i) x.push_back(static_cast<float>(i) / 8);
  return x;
}

}  // namespace

TEST_CASE("pointwise kernels with exact formulas equal their definition on every ISA") {
  const std::vector<float> x = interesting();
  const int64_t n = static_cast<int64_t>(x.size());
  for_each_isa([&](std::string_view isa) {
    for (const Pointwise& f : kExact) {
      CAPTURE(isa);
      CAPTURE(std::string(f.name()));
      std::vector<float> y(x.size()), dx(x.size()), dy(x.size()), want, slope;
      Rng rng(5);
      for (float& g : dy) g = rng.uniform(-2, 2);
      kernels::pointwise(f, x.data(), y.data(), n);
      kernels::pointwise_grad(f, x.data(), dy.data(), dx.data(), n);
      for (size_t i = 0; i < x.size(); ++i) {
        want.push_back(ref::value<float>(f, x[i]));
        slope.push_back(dy[i] * ref::slope<float>(f, x[i]));
      }
      CHECK(close(std::span<const float>(y), std::span<const float>(want)));
      CHECK(close(std::span<const float>(dx), std::span<const float>(slope)));
    }
  });
}

TEST_CASE("pointwise kernels with fitted formulas are close to their definition on every ISA") {
  for_each_isa([&](std::string_view isa) {
    for (const Smooth& s : kSmooth) {
      const Pointwise f = {.kind = s.kind};
      CAPTURE(isa);
      CAPTURE(std::string(f.name()));
      constexpr int64_t kCount = 20000;
      Rng rng(11);
      Unaligned x(kCount, rng, s.lo, s.hi), one(kCount, rng, 1, 1), y(kCount), dx(kCount);
      kernels::pointwise(f, x.data(), y.data(), kCount);
      kernels::pointwise_grad(f, x.data(), one.data(), dx.data(), kCount);
      double value_gap = 0, slope_gap = 0;
      for (int64_t i = 0; i < kCount; ++i) {
        const double value = ref::value<double>(f, x[i]), slope = ref::slope<double>(f, x[i]);
        value_gap = std::max(value_gap, (std::abs(y[i] - value) - s.absolute) / std::abs(value));
        slope_gap = std::max(slope_gap, (std::abs(dx[i] - slope) - s.absolute) / std::abs(slope));
      }
      CHECK(value_gap <= s.relative);
      CHECK(slope_gap <= 2 * s.relative);  // two or three such terms
    }
  });
}

TEST_CASE("pointwise kernels of any length, at any address, in place") {
  for_each_isa([](std::string_view isa) {
    for (const Pointwise& f : {Pointwise{.kind = Kind::relu}, Pointwise{.kind = Kind::gelu}}) {
      for (int64_t n : lengths_around_lanes()) {
        CAPTURE(isa);
        CAPTURE(n);
        Rng rng(static_cast<uint64_t>(n));
        const Unaligned x(n, rng, -3, 3);
        Unaligned y(n), in_place = x, dx = x, dy(n, rng, 1, 2);
        kernels::pointwise(f, x.data(), y.data(), n);
        kernels::pointwise(f, in_place.data(), in_place.data(), n);
        CHECK(close(in_place.span(), y.span()));
        kernels::pointwise_grad(f, x.data(), dy.data(), dx.data(), n);
        kernels::pointwise_grad(f, x.data(), dy.data(), dy.data(), n);
        CHECK(close(dx.span(), dy.span()));
        for (int64_t i = 0; i < n; ++i) {
          // An element's result must not depend on where it stands.
          float alone = 0;
          kernels::pointwise(f, x.data() + i, &alone, 1);
          CHECK(alone == y[i]);
        }
        CHECK((y.intact() && in_place.intact() && dx.intact() && dy.intact()));
      }
    }
  });
}

TEST_CASE("pointwise kernels at infinity, at the edge of overflow and for NaN") {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const auto at = [](Kind kind, float x) {
    float y = 0;
    kernels::pointwise({.kind = kind, .a = 0.1f, .b = 3.0f, .c = 1.0f}, &x, &y, 1);
    return y;
  };
  for_each_isa([&](std::string_view isa) {
    CAPTURE(isa);
    CHECK(at(Kind::exp, kInf) == kInf);
    CHECK(at(Kind::exp, 89.0f) == kInf);
    CHECK(at(Kind::exp, 1000.0f) == kInf);
    CHECK(at(Kind::exp, -kInf) == 0);
    CHECK(at(Kind::exp, -200.0f) == 0);
    CHECK(at(Kind::log, 0.0f) == -kInf);
    CHECK(std::isnan(at(Kind::log, -1.0f)));
    CHECK(at(Kind::log, kInf) == kInf);
    CHECK(at(Kind::log, std::numeric_limits<float>::max()) == doctest::Approx(88.72284f));
    CHECK(at(Kind::tanh, kInf) == 1);
    CHECK(at(Kind::tanh, -50.0f) == -1);
    CHECK(at(Kind::sigmoid, -kInf) == 0);
    CHECK(at(Kind::sigmoid, kInf) == 1);
    CHECK(at(Kind::relu, kInf) == kInf);
    CHECK(at(Kind::gelu, 30.0f) == 30);
    CHECK(at(Kind::gelu, -30.0f) == 0);
    for (int kind = 0; kind <= static_cast<int>(Kind::round); ++kind) {
      CAPTURE(kind);
      CHECK(std::isnan(at(static_cast<Kind>(kind), kNan)));
    }
  });
}

TEST_CASE("halves round to even or away from zero, and nothing else moves") {
  for_each_isa([](std::string_view isa) {
    CAPTURE(isa);
    const auto rounded = [](Rounding rounding, float x) {
      float y = 0;
      kernels::pointwise({.kind = Kind::round, .rounding = rounding}, &x, &y, 1);
      return y;
    };
    for (int i = -9; i <= 9; ++i) {
      const float half = static_cast<float>(i) + 0.5f;
      for (float x : {half, std::nextafter(half, -100.0f), std::nextafter(half, 100.0f)}) {
        CAPTURE(x);
        CHECK(rounded(Rounding::half_even, x) == std::nearbyint(x));
        CHECK(rounded(Rounding::half_away, x) == std::round(x));
      }
    }
  });
}
