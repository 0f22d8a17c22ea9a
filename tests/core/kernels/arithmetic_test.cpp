#include "core/kernels/arithmetic.h"

#include <doctest/doctest.h>

#include <vector>

#include "core/kernels/ref.h"
#include "tests/support/close.h"
#include "tests/support/isa.h"

using namespace pare;
using namespace pare::test;
using kernels::Arithmetic;
using kernels::Operand;

TEST_CASE("arithmetic over rows equals its definition, whatever is broadcast, on every ISA") {
  constexpr int64_t kRows = 3;
  for_each_isa([](std::string_view isa) {
    for (int64_t n : lengths_around_lanes()) {
      Rng rng(static_cast<uint64_t>(n) + 1);
      const Unaligned a(kRows * n + 4, rng, -2, 2), b(kRows * n + 4, rng, 0.5f, 2);
      for (int64_t row_a : {int64_t{0}, n}) {
        for (int64_t step_a : {0, 1}) {
          for (int64_t step_b : {0, 1}) {
            for (auto op : {Arithmetic::add, Arithmetic::sub, Arithmetic::mul, Arithmetic::div}) {
              CAPTURE(isa);
              CAPTURE(n);
              Unaligned y(kRows * n);
              std::vector<float> want;
              for (int64_t r = 0; r < kRows; ++r) {
                for (int64_t i = 0; i < n; ++i) {
                  want.push_back(
                      ref::arithmetic(op, a[r * row_a + i * step_a], b[r * n + i * step_b]));
                }
              }
              kernels::arithmetic(op, Operand{a.data(), row_a, step_a},
                                  Operand{b.data(), n, step_b}, y.data(), kRows, n);
              CHECK(close(y.span(), std::span<const float>(want)));
              CHECK(y.intact());
            }
          }
        }
      }
    }
  });
}

TEST_CASE("arithmetic may write over an operand; accumulate adds to what is there") {
  for_each_isa([](std::string_view isa) {
    CAPTURE(isa);
    for (int64_t n : lengths_around_lanes()) {
      Rng rng(2);
      const Unaligned a(n, rng, -2, 2), b(n, rng, -2, 2);
      Unaligned over_a = a, over_b = b, sum(n), accumulated = b;
      kernels::arithmetic(Arithmetic::sub, {a.data()}, {b.data()}, sum.data(), 1, n);
      kernels::arithmetic(Arithmetic::sub, {over_a.data()}, {b.data()}, over_a.data(), 1, n);
      kernels::arithmetic(Arithmetic::sub, {a.data()}, {over_b.data()}, over_b.data(), 1, n);
      CHECK(close(over_a.span(), sum.span()));
      CHECK(close(over_b.span(), sum.span()));
      kernels::accumulate(a.data(), accumulated.data(), n);
      for (int64_t i = 0; i < n; ++i) CHECK(accumulated[i] == b[i] + a[i]);
      CHECK((over_a.intact() && over_b.intact() && accumulated.intact()));
    }
  });
}
