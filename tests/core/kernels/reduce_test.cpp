#include "core/kernels/reduce.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/kernels/ref.h"
#include "tests/support/close.h"
#include "tests/support/isa.h"

using namespace pare;
using namespace pare::test;

namespace {

/// Blocks of 2048 in chains of at most 512, or 64 rows: the rounding of a few hundred additions.
constexpr double kRelative = 2e-6;

std::vector<int64_t> lengths() {
  std::vector<int64_t> all = lengths_around_lanes();
  all.insert(all.end(), {2047, 2048, 2049, 5000});
  return all;
}

}  // namespace

TEST_CASE("sums along a row are close to sums in double on every ISA") {
  for_each_isa([](std::string_view isa) {
    for (int64_t n : lengths()) {
      CAPTURE(isa);
      CAPTURE(n);
      Rng rng(static_cast<uint64_t>(n));
      const Unaligned x(n, rng, 0.5f, 2), y(n, rng, -1, 1);
      const double sum = ref::sum_power(x.data(), 0, 1, n, 1);
      const double squares = ref::sum_power(x.data(), 0.75, 2, n, 1);
      double differences = 0;
      for (int64_t i = 0; i < n; ++i) differences += std::pow(double{x[i]} - double{y[i]}, 2);
      CHECK(std::abs(kernels::sum(x.data(), n) - sum) <= kRelative * sum);
      CHECK(std::abs(kernels::sum_squares(x.data(), 0.75f, n) - squares) <= kRelative * squares);
      CHECK(std::abs(kernels::sum_squared_difference(x.data(), y.data(), n) - differences) <=
            kRelative * differences);
    }
  });
}

TEST_CASE("sums of whole numbers are exact") {
  for_each_isa([](std::string_view isa) {
    CAPTURE(isa);
    const std::vector<float> ones(20'000'001,
                                  1.0f);  // more than 2^24: a float could not count them
    CHECK(kernels::sum(ones.data(), static_cast<int64_t>(ones.size())) == 20'000'001.0);
  });
}

TEST_CASE("sums down columns are close to sums in double on every ISA") {
  for_each_isa([](std::string_view isa) {
    for (int64_t n : lengths_around_lanes()) {
      for (int64_t rows : {0, 1, 5, 64, 65, 200}) {
        CAPTURE(isa);
        CAPTURE(n);
        CAPTURE(rows);
        const int64_t stride = n + 3;
        Rng rng(static_cast<uint64_t>(n));
        const Unaligned x(rows * stride, rng, 0.5f, 2), center(n, rng, -1, 1);
        Unaligned sums(n), squares(n);
        std::vector<double> want_sums, want_squares;
        for (int64_t i = 0; i < n; ++i) {
          want_sums.push_back(ref::sum_power(x.data() + i, 0, 1, rows, stride));
          want_squares.push_back(ref::sum_power(x.data() + i, double{center[i]}, 2, rows, stride));
        }
        kernels::sum_columns(x.data(), rows, stride, n, sums.data());
        kernels::sum_squares_columns(x.data(), center.data(), rows, stride, n, squares.data());
        CHECK(close(sums.span(), std::span<const double>(want_sums), {.relative = kRelative}));
        CHECK(
            close(squares.span(), std::span<const double>(want_squares), {.relative = kRelative}));
        CHECK((sums.intact() && squares.intact()));
      }
    }
  });
}

TEST_CASE("maxima are the first of equals, and NaN is above everything") {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for_each_isa([&](std::string_view isa) {
    for (int64_t n : lengths_around_lanes()) {
      if (n == 0) continue;
      for (int kind = 0; kind < 4; ++kind) {
        CAPTURE(isa);
        CAPTURE(n);
        CAPTURE(kind);
        Rng rng(static_cast<uint64_t>(n * 4 + kind));
        Unaligned x(n);
        for (float& v : x.span()) v = static_cast<float>(rng.below(5)) - 6;  // many ties, negative
        if (kind == 1) x[n / 2] = x[n - 1] = kNan;
        if (kind == 2) x[n / 3] = kInf;
        if (kind == 3) std::fill_n(x.data(), n, -kInf);
        const kernels::Maximum m = kernels::max(x.data(), n);
        const int64_t want = ref::argmax(x.data(), n, 1);
        CHECK(m.index == want);
        CHECK((m.value == x[want] || (std::isnan(m.value) && std::isnan(x[want]))));
      }
    }
  });
}

TEST_CASE("maxima down columns equal their definition on every ISA") {
  for_each_isa([](std::string_view isa) {
    for (int64_t n : lengths_around_lanes()) {
      for (int64_t rows : {1, 2, 33}) {
        CAPTURE(isa);
        CAPTURE(n);
        CAPTURE(rows);
        Rng rng(static_cast<uint64_t>(n));
        const int64_t stride = n + 1;
        Unaligned x(rows * stride);
        for (float& v : x.span()) v = static_cast<float>(rng.below(7));
        if (n > 2) x[rows / 2 * stride + 2] = std::numeric_limits<float>::quiet_NaN();
        Unaligned y(n);
        std::vector<int32_t> index(static_cast<size_t>(n) + 1, -7);
        kernels::max_columns(x.data(), rows, stride, n, y.data(), index.data());
        for (int64_t i = 0; i < n; ++i) {
          const int64_t want = ref::argmax(x.data() + i, rows, stride);
          CHECK(index[static_cast<size_t>(i)] == want);
          const float top = x[want * stride + i];
          CHECK((y[i] == top || (std::isnan(y[i]) && std::isnan(top))));
        }
        CHECK((y.intact() && index.back() == -7));
      }
    }
  });
}
