#include "core/kernels/softmax.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "core/kernels/ref.h"
#include "tests/support/close.h"
#include "tests/support/isa.h"

using namespace pare;
using namespace pare::test;

namespace {

constexpr int64_t kRows = 3;
/// One exponential, one logarithm and a sum of up to a thousand terms in float.
constexpr Tolerance kClose = {.absolute = 2e-7, .relative = 2e-6};

std::span<const float> row(const Unaligned& x, int64_t r, int64_t n) {
  return x.span().subspan(static_cast<size_t>(r * n), static_cast<size_t>(n));
}

}  // namespace

TEST_CASE("softmax and log_softmax are close to their definition on every ISA") {
  for_each_isa([](std::string_view isa) {
    for (int64_t n : lengths_around_lanes()) {
      if (n == 0) continue;
      CAPTURE(isa);
      CAPTURE(n);
      Rng rng(static_cast<uint64_t>(n));
      const Unaligned x(kRows * n, rng, -90, 90);  // e^90 alone would overflow
      Unaligned p(kRows * n), log_p(kRows * n);
      kernels::softmax(x.data(), p.data(), kRows, n);
      kernels::log_softmax(x.data(), log_p.data(), kRows, n);
      for (int64_t r = 0; r < kRows; ++r) {
        const std::vector<double> want = ref::log_softmax(row(x, r, n));
        std::vector<double> exponents;
        for (double v : want) exponents.push_back(std::exp(v));
        CHECK(close(row(log_p, r, n), std::span<const double>(want), kClose));
        CHECK(close(row(p, r, n), std::span<const double>(exponents), kClose));
      }
      CHECK((p.intact() && log_p.intact()));
    }
  });
}

TEST_CASE("softmax gradients are close to their definition on every ISA") {
  for_each_isa([](std::string_view isa) {
    for (int64_t n : lengths_around_lanes()) {
      if (n == 0) continue;
      CAPTURE(isa);
      CAPTURE(n);
      Rng rng(static_cast<uint64_t>(n));
      const Unaligned x(kRows * n, rng, -3, 3), dy(kRows * n, rng, -1, 1);
      Unaligned p(kRows * n), log_p(kRows * n), dx(kRows * n), in_place = dy;
      kernels::softmax(x.data(), p.data(), kRows, n);
      kernels::log_softmax(x.data(), log_p.data(), kRows, n);
      std::vector<double> want(static_cast<size_t>(n)), want_log(want);
      kernels::softmax_grad(p.data(), dy.data(), dx.data(), kRows, n);
      kernels::log_softmax_grad(log_p.data(), dy.data(), in_place.data(), kRows, n);
      for (int64_t r = 0; r < kRows; ++r) {
        const auto q = row(p, r, n), g = row(dy, r, n);
        const double dot = std::inner_product(q.begin(), q.end(), g.begin(), 0.0);
        const double sum = std::accumulate(g.begin(), g.end(), 0.0);
        for (size_t i = 0; i < q.size(); ++i) {
          want[i] = q[i] * (g[i] - dot);
          want_log[i] = g[i] - q[i] * sum;
        }
        CHECK(close(row(dx, r, n), std::span<const double>(want), kClose));
        CHECK(close(row(in_place, r, n), std::span<const double>(want_log), kClose));
      }
      CHECK((dx.intact() && in_place.intact()));
    }
  });
}

TEST_CASE("cross entropy and its gradient are close to their definition on every ISA") {
  for_each_isa([](std::string_view isa) {
    for (int64_t n : lengths_around_lanes()) {
      if (n == 0) continue;
      for (float smoothing : {0.0f, 0.1f}) {
        for (bool probabilities : {false, true}) {
          CAPTURE(isa);
          CAPTURE(n);
          CAPTURE(smoothing);
          CAPTURE(probabilities);
          Rng rng(static_cast<uint64_t>(n));
          const Unaligned z(kRows * n, rng, -20, 20);
          Unaligned t(probabilities ? kRows * n : kRows, rng, 0, 0.2f);
          if (!probabilities) {
            for (float& v : t.span()) v = static_cast<float>(rng.below(n));
          }
          Unaligned loss(kRows), dz(kRows * n), alone(kRows);
          const kernels::Targets targets = {t.data(), probabilities, smoothing};
          kernels::cross_entropy(z.data(), targets, loss.data(), dz.data(), kRows, n);
          kernels::cross_entropy(z.data(), targets, alone.data(), nullptr, kRows, n);
          for (int64_t r = 0; r < kRows; ++r) {
            std::vector<double> p(static_cast<size_t>(n));
            for (int64_t i = 0; i < n; ++i) {
              p[static_cast<size_t>(i)] = probabilities ? double{t[r * n + i]} : i == t[r];
            }
            const ref::Loss want = ref::cross_entropy(row(z, r, n), p, double{smoothing});
            CHECK(std::abs(loss[r] - want.value) <= 1e-6 * (1 + std::abs(want.value)));
            CHECK(alone[r] == doctest::Approx(loss[r]).epsilon(1e-6));
            CHECK(close(row(dz, r, n), std::span<const double>(want.slope), kClose));
          }
          CHECK((loss.intact() && dz.intact()));
        }
      }
    }
  });
}
