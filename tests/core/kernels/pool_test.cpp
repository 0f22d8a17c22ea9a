#include "core/kernels/pool.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/kernels/ref.h"
#include "tests/support/close.h"
#include "tests/support/isa.h"

using namespace pare;
using namespace pare::test;
using kernels::PoolGeometry;

namespace {

/// Axes: inputs, outputs, kernel, stride, padding. The last ones end outside (ceil mode) or leave
/// inputs unseen.
const std::vector<PoolGeometry> kGeometries = {
    {{8, 4, 2, 2, 0}, {6, 3, 2, 2, 0}, 0}, {{9, 5, 3, 2, 1}, {7, 4, 3, 2, 1}, 0},
    {{8, 4, 3, 2, 0}, {8, 4, 3, 2, 0}, 0}, {{5, 5, 3, 1, 1}, {6, 6, 3, 1, 1}, 0},
    {{7, 2, 2, 3, 0}, {9, 3, 2, 3, 0}, 0}, {{4, 1, 4, 1, 0}, {5, 3, 3, 1, 0}, 0},
};

template <class Tap>
void check_max(PoolGeometry g, int64_t channels) {
  g.channels = channels;
  const int64_t in = g.h.in * g.w.in * channels, out = g.h.out * g.w.out * channels;
  Rng rng(static_cast<uint64_t>(channels));
  Unaligned x(in), dy(out, rng, -1, 1), y(out), dx(in);
  for (float& v : x.span()) v = static_cast<float>(rng.below(6)) - 7;  // ties, below zero
  if (in > 5) x[in / 2] = std::numeric_limits<float>::quiet_NaN();
  std::vector<Tap> taps(static_cast<size_t>(out) + 1, Tap{77});
  for (int64_t oy = 0; oy < g.h.out; ++oy) {
    const int64_t at = oy * g.w.out * channels;
    kernels::max_pool(x.data(), g, oy, y.data() + at, taps.data() + at);
  }
  for (int64_t iy = 0; iy < g.h.in; ++iy) {
    kernels::max_pool_grad(dy.data(), taps.data(), g, iy, dx.data() + iy * g.w.in * channels);
  }
  const ref::MaxPool want = ref::max_pool(x.data(), g);
  std::vector<double> slope(static_cast<size_t>(in), 0.0);
  for (int64_t i = 0; i < out; ++i) {
    const size_t o = static_cast<size_t>(i);
    CHECK(taps[o] == static_cast<Tap>(want.tap[o]));
    slope[static_cast<size_t>(want.input[o])] += dy[i];
  }
  CHECK(taps.back() == Tap{77});
  CHECK(close(y.span(), std::span<const float>(want.y)));
  // Up to nine terms in another order.
  CHECK(close(dx.span(), std::span<const double>(slope), {.relative = 5e-7}));
  CHECK((y.intact() && dx.intact()));
}

void check_avg(PoolGeometry g, int64_t channels, bool include_pad) {
  g.channels = channels;
  const int64_t in = g.h.in * g.w.in * channels, out = g.h.out * g.w.out * channels;
  Rng rng(static_cast<uint64_t>(channels));
  const Unaligned x(in, rng, -1, 1), dy(out, rng, -1, 1);
  Unaligned y(out), dx(in);
  for (int64_t oy = 0; oy < g.h.out; ++oy) {
    kernels::avg_pool(x.data(), g, include_pad, oy, y.data() + oy * g.w.out * channels);
  }
  for (int64_t iy = 0; iy < g.h.in; ++iy) {
    kernels::avg_pool_grad(dy.data(), g, include_pad, iy, dx.data() + iy * g.w.in * channels);
  }
  std::vector<double> want(static_cast<size_t>(out), 0.0), slope(static_cast<size_t>(in), 0.0);
  ref::for_each_tap(g, [&](int64_t oy, int64_t ox, int64_t iy, int64_t ix, int64_t) {
    const double n = ref::counted(g.h, oy, include_pad) * ref::counted(g.w, ox, include_pad);
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t o = (oy * g.w.out + ox) * channels + c, i = (iy * g.w.in + ix) * channels + c;
      want[static_cast<size_t>(o)] += x[i] / n;
      slope[static_cast<size_t>(i)] += dy[o] / n;
    }
  });
  CHECK(close(y.span(), std::span<const double>(want), {.relative = 5e-7}));
  CHECK(close(dx.span(), std::span<const double>(slope), {.relative = 5e-7}));
  CHECK((y.intact() && dx.intact()));
}

}  // namespace

TEST_CASE("max pooling and its gradient equal their definition on every ISA") {
  for_each_isa([](std::string_view isa) {
    for (size_t i = 0; i < kGeometries.size(); ++i) {
      for (int64_t channels : {1, 3, 8, 16, 19, 35}) {
        CAPTURE(isa);
        CAPTURE(i);
        CAPTURE(channels);
        check_max<kernels::TapIndex8>(kGeometries[i], channels);
        check_max<kernels::TapIndex32>(kGeometries[i], channels);
      }
    }
  });
}

TEST_CASE("a max pooling window of 300 inputs keeps its indices apart") {
  for_each_isa([](std::string_view isa) {
    CAPTURE(isa);
    check_max<kernels::TapIndex32>({{20, 2, 20, 1, 1}, {15, 1, 15, 1, 0}, 0}, 17);
  });
}

TEST_CASE("max pooling without indices gives the same values") {
  Rng rng(1);
  const PoolGeometry g = {{9, 5, 3, 2, 1}, {7, 4, 3, 2, 1}, 21};
  const Unaligned x(9 * 7 * 21, rng, -1, 1);
  for_each_isa([&](std::string_view isa) {
    CAPTURE(isa);
    Unaligned y(4 * 21), with(4 * 21);
    std::vector<uint8_t> taps(4 * 21);
    kernels::max_pool(x.data(), g, 2, y.data(), static_cast<uint8_t*>(nullptr));
    kernels::max_pool(x.data(), g, 2, with.data(), taps.data());
    CHECK(close(y.span(), with.span()));
  });
}

TEST_CASE("average pooling and its gradient equal their definition on every ISA") {
  for_each_isa([](std::string_view isa) {
    for (size_t i = 0; i < kGeometries.size(); ++i) {
      for (int64_t channels : {1, 8, 19, 35}) {
        for (bool include_pad : {false, true}) {
          CAPTURE(isa);
          CAPTURE(i);
          CAPTURE(channels);
          CAPTURE(include_pad);
          check_avg(kGeometries[i], channels, include_pad);
        }
      }
    }
  });
}
