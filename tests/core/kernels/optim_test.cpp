// The optimizers' inner loops against their formulas in double, on every ISA, at every tail.

#include "core/kernels/optim.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "core/kernels/isa.h"
#include "core/rng.h"

using namespace pare;

namespace {

using Values = std::vector<float>;

Values draw(size_t n, uint64_t seed, bool positive = false) {
  Rng rng(seed);
  Values v(n);
  for (float& x : v) x = positive ? rng.uniform(0.01f, 1.0f) : rng.normal();
  return v;
}

/// Few float32 operations each: a handful of roundings of values near one.
constexpr double kTolerance = 2e-6;

void check_close(const Values& got, const std::vector<double>& want) {
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::abs(got[i] - want[i]));
  CHECK(worst < kTolerance);
  CHECK(got[want.size()] == 77.0f);  // nothing is written behind the end
}

template <class F>
void on_every_isa(F&& f) {
  const Isa before = active_isa();
  for (Isa isa : supported_isas()) {
    CAPTURE(isa_name(isa));
    force_isa(isa);
    for (size_t n : {0, 1, 3, 7, 8, 9, 15, 16, 17, 33, 100}) {
      CAPTURE(n);
      f(n);
    }
  }
  force_isa(before);
}

Values guarded(Values v) {
  v.push_back(77.0f);
  return v;
}

}  // namespace

TEST_CASE("sgd kernel: plain, momentum, nesterov") {
  on_every_isa([](size_t n) {
    for (int mode : {0, 1, 2}) {
      CAPTURE(mode);
      const kernels::SgdStep s{.lr = 0.3f,
                               .momentum = 0.9f,
                               .keep = 0.9f,
                               .take = 0.75f,
                               .decay = 0.1f,
                               .nesterov = mode == 2};
      const Values p0 = draw(n, 1), g = draw(n, 2), v0 = draw(n, 3);
      Values p = guarded(p0), v = guarded(v0);
      std::vector<double> want_p(n), want_v(n);
      for (size_t i = 0; i < n; ++i) {
        const double dw = g[i] + 0.1 * p0[i];
        want_v[i] = 0.9 * v0[i] + 0.75 * dw;
        const double step = mode == 0 ? dw : mode == 1 ? want_v[i] : dw + 0.9 * want_v[i];
        want_p[i] = p0[i] - 0.3 * step;
      }
      kernels::sgd(s, p.data(), g.data(), mode ? v.data() : nullptr, static_cast<int64_t>(n));
      check_close(p, want_p);
      if (mode) check_close(v, want_v);
    }
  });
}

TEST_CASE("adam kernel") {
  on_every_isa([](size_t n) {
    const kernels::AdamStep s{.shrink = 0.9f,
                              .decay = 0.05f,
                              .take1 = 0.1f,
                              .keep2 = 0.8f,
                              .take2 = 0.2f,
                              .rate = 0.02f,
                              .correction = 0.5f,
                              .eps = 0.01f};
    const Values p0 = draw(n, 1), g = draw(n, 2), m0 = draw(n, 3), v0 = draw(n, 4, true);
    Values p = guarded(p0), m = guarded(m0), v = guarded(v0);
    std::vector<double> want_p(n), want_m(n), want_v(n);
    for (size_t i = 0; i < n; ++i) {
      const double w = 0.9 * p0[i], dw = g[i] + 0.05 * w;
      want_m[i] = m0[i] + 0.1 * (dw - m0[i]);
      want_v[i] = 0.8 * v0[i] + 0.2 * dw * dw;
      want_p[i] = w - 0.02 * want_m[i] / (std::sqrt(want_v[i]) / 0.5 + 0.01);
    }
    kernels::adam(s, p.data(), g.data(), m.data(), v.data(), static_cast<int64_t>(n));
    check_close(p, want_p);
    check_close(m, want_m);
    check_close(v, want_v);
  });
}

TEST_CASE("lerp and sum of squares") {
  on_every_isa([](size_t n) {
    const Values x = draw(n, 1), y0 = draw(n, 2);
    Values y = guarded(y0);
    std::vector<double> want(n);
    double squares = 0;
    for (size_t i = 0; i < n; ++i) {
      want[i] = y0[i] + 0.3 * (double{x[i]} - y0[i]);
      squares += double{x[i]} * x[i];
    }
    kernels::lerp(0.3f, x.data(), y.data(), static_cast<int64_t>(n));
    check_close(y, want);
    const double got = kernels::sum_squares(x.data(), static_cast<int64_t>(n));
    CHECK(std::abs(got - squares) <= 1e-5 * squares);
  });
}
