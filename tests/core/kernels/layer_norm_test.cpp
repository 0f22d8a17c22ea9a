#include "core/kernels/layer_norm.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "tests/support/close.h"
#include "tests/support/isa.h"

using namespace pare;
using namespace pare::test;

namespace {

constexpr int64_t kRows = 4;
constexpr double kEps = 1e-5;

struct Want {
  std::vector<double> y, dx, dgamma, dbeta;
};

/// The formulas of layer_norm.h in double; gamma and beta are 1 and 0 where the pointer is null.
Want definition(const Unaligned& x, const float* gamma, const float* beta, const Unaligned& dy,
                int64_t n) {
  const size_t size = static_cast<size_t>(n);
  Want want{{}, {}, std::vector<double>(size), std::vector<double>(size)};
  const double count = static_cast<double>(n);
  for (int64_t r = 0; r < kRows; ++r) {
    double mean = 0, var = 0, mean_g = 0, mean_gx = 0;
    for (int64_t i = 0; i < n; ++i) mean += x[r * n + i] / count;
    for (int64_t i = 0; i < n; ++i) var += std::pow(x[r * n + i] - mean, 2) / count;
    const double s = 1 / std::sqrt(var + kEps);
    const auto xhat = [&](int64_t i) { return (x[r * n + i] - mean) * s; };
    const auto g = [&](int64_t i) { return double{dy[r * n + i]} * (gamma ? gamma[i] : 1); };
    for (int64_t i = 0; i < n; ++i) {
      mean_g += g(i) / count;
      mean_gx += g(i) * xhat(i) / count;
    }
    for (int64_t i = 0; i < n; ++i) {
      want.y.push_back(xhat(i) * (gamma ? gamma[i] : 1) + (beta ? beta[i] : 0));
      want.dx.push_back(s * (g(i) - mean_g - xhat(i) * mean_gx));
      want.dgamma[static_cast<size_t>(i)] += dy[r * n + i] * xhat(i);
      want.dbeta[static_cast<size_t>(i)] += dy[r * n + i];
    }
  }
  return want;
}

}  // namespace

TEST_CASE("layer norm and its gradients are close to their definition on every ISA") {
  // Sums of up to a thousand terms in float, over a variance near one.
  constexpr Tolerance kClose = {.absolute = 1e-6, .relative = 3e-6};
  for_each_isa([&](std::string_view isa) {
    for (int64_t n : lengths_around_lanes()) {
      if (n < 2) continue;  // the variance of one value is zero
      for (bool affine : {false, true}) {
        CAPTURE(isa);
        CAPTURE(n);
        CAPTURE(affine);
        Rng rng(static_cast<uint64_t>(n));
        const Unaligned x(kRows * n, rng, -2, 3), dy(kRows * n, rng, -1, 1);
        const Unaligned gamma(n, rng, 0.5f, 2), beta(n, rng, -1, 1);
        const float *w = affine ? gamma.data() : nullptr, *b = affine ? beta.data() : nullptr;
        Unaligned y(kRows * n), dx(kRows * n), dgamma(n), dbeta(n);
        std::vector<kernels::RowStats> stats(kRows);
        kernels::layer_norm(x.data(), w, b, static_cast<float>(kEps), y.data(), stats.data(), kRows,
                            n);
        kernels::layer_norm_grad(x.data(), w, dy.data(), stats.data(), dx.data(), dgamma.data(),
                                 dbeta.data(), kRows, n);
        const Want want = definition(x, w, b, dy, n);
        CHECK(close(y.span(), std::span<const double>(want.y), kClose));
        // Two features: dx is a difference that nearly vanishes, scaled by 1 / std.
        CHECK(close(dx.span(), std::span<const double>(want.dx),
                    {.absolute = 2e-5, .relative = 3e-6}));
        CHECK(close(dgamma.span(), std::span<const double>(want.dgamma), kClose));
        CHECK(close(dbeta.span(), std::span<const double>(want.dbeta), kClose));
        CHECK((y.intact() && dx.intact() && dgamma.intact() && dbeta.intact()));
      }
    }
  });
}

TEST_CASE("layer norm gradients that nobody asked for are left out") {
  Rng rng(4);
  const Unaligned x(kRows * 20, rng, -1, 1), dy(kRows * 20, rng, -1, 1);
  Unaligned y(kRows * 20), all(kRows * 20), alone(kRows * 20), dgamma(20), dbeta(20);
  std::vector<kernels::RowStats> stats(kRows);
  for_each_isa([&](std::string_view isa) {
    CAPTURE(isa);
    kernels::layer_norm(x.data(), nullptr, nullptr, 1e-5f, y.data(), stats.data(), kRows, 20);
    kernels::layer_norm_grad(x.data(), nullptr, dy.data(), stats.data(), all.data(), dgamma.data(),
                             dbeta.data(), kRows, 20);
    kernels::layer_norm_grad(x.data(), nullptr, dy.data(), stats.data(), alone.data(), nullptr,
                             nullptr, kRows, 20);
    CHECK(close(alone.span(), all.span()));
    Unaligned only(20);
    kernels::layer_norm_grad(x.data(), nullptr, dy.data(), stats.data(), nullptr, only.data(),
                             nullptr, kRows, 20);
    CHECK(close(only.span(), dgamma.span()));
  });
}
