#include "deploy/runtime/winograd.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "deploy/runtime/kernels/tile.h"

namespace pare::runtime {

namespace {

std::atomic<bool>& enabled() {
  static std::atomic<bool> value = [] {
    const char* text = std::getenv("PARE_WINOGRAD");
    return !text || std::strcmp(text, "off") != 0;
  }();
  return value;
}

double divide_up(int64_t a, int64_t b) { return static_cast<double>((a + b - 1) / b); }

/// Cycles that reading weights takes: nothing from the first two caches, then 20 and 10 bytes each.
double cycles_of_reading(double bytes) {
  return bytes < (1 << 20) ? 0 : bytes / (bytes < (16 << 20) ? 20 : 10);
}

/// Cycles of one image, roughly, with two FMAs of 16 lanes in each.
double cycles(const Winograd& kind, const Buffer& in, const Buffer& out) {
  const WinogradTiles t = winograd_tiles(kind, out);
  const double tiles = static_cast<double>(t.rows * t.columns), points = kind.points();
  const double units = static_cast<double>(t.units());
  const double in_vectors = divide_up(in.c, kernels::kPanel);
  const double out_vectors = divide_up(out.c, kernels::kPanel);
  // A vector of weights is read for all tiles of a unit, and takes longer than two FMAs.
  const double each = std::max(tiles / units / 2, 2.5) * units / 0.8;
  const double transforms = 3 * tiles * points * (in_vectors + out_vectors);
  const double bytes = points * in.c * out_vectors * kernels::kPanel * 4;
  return points * in.c * out_vectors * each + transforms + units * cycles_of_reading(bytes);
}

double direct_cycles(const Window& w, const Buffer& in, const Buffer& out) {
  const double terms = static_cast<double>(w.kh) * w.kw * in.c;
  const double out_vectors = divide_up(out.c, kernels::kPanel);
  return static_cast<double>(out.pixels()) * terms * out_vectors / 2 / 0.85;
}

}  // namespace

bool winograd_enabled() { return enabled(); }
void enable_winograd(bool on) { enabled() = on; }

WinogradTiles winograd_tiles(const Winograd& kind, const Buffer& out) {
  constexpr int64_t kTiles = 24;  // of a unit: whole register tiles, in the second cache
  const int64_t rows = (out.h + kind.m - 1) / kind.m, columns = (out.w + kind.m - 1) / kind.m;
  const int64_t enough = (kTiles + columns - 1) / columns;
  return {rows, columns, std::max<int64_t>(1, std::min(enough, (rows + 1) / 2))};
}

Winograd winograd_for(const Program& program, const Op& op) {
  const Buffer& in = program.buffers[static_cast<size_t>(op.inputs[0])];
  const Buffer& out = program.buffers[static_cast<size_t>(op.output)];
  const Window& w = op.window;
  const bool plain = w.sh == 1 && w.sw == 1 && w.dh == 1 && w.dw == 1 && op.groups == 1;
  if (!enabled() || in.type != Type::f32 || !plain || w.kh != w.kw || (w.kh != 3 && w.kh != 5))
    return {};
  constexpr int kFewestChannels = 4, kFewestPixels = 8;  // in both directions
  if (std::min(in.c, out.c) < kFewestChannels) return {};
  if (std::min(out.h, out.w) < kFewestPixels) return {};
  Winograd best;
  double least = 0.9 * direct_cycles(w, in, out);
  for (const Winograd& kind : {Winograd{2, 3}, Winograd{4, 3}, Winograd{2, 5}}) {
    if (kind.r != w.kh) continue;
    const double c = cycles(kind, in, out);
    if (c < least) best = kind, least = c;
  }
  return best;
}

void winograd_weight(const Winograd& kind, const float* w, float* u) {
  constexpr int kMost = 6;
  const int alpha = kind.alpha(), r = kind.r;
  // Row p of G is p^0 .. p^(r - 1), over the product of p's distances to the other points.
  std::array<std::array<double, 5>, kMost> g{};
  const std::array<double, 5> points{0, 1, -1, 2, -2};
  for (int i = 0; i < alpha - 1; ++i) {
    double over = 1, power = 1;
    for (int j = 0; j < alpha - 1; ++j) {
      if (j != i) over *= points[static_cast<size_t>(i)] - points[static_cast<size_t>(j)];
    }
    for (int k = 0; k < r; ++k, power *= points[static_cast<size_t>(i)]) {
      g[static_cast<size_t>(i)][static_cast<size_t>(k)] = power / over;
    }
  }
  g[static_cast<size_t>(alpha - 1)][static_cast<size_t>(r - 1)] = 1;
  for (int i = 0; i < alpha; ++i) {
    for (int j = 0; j < alpha; ++j) {
      double sum = 0;
      for (int a = 0; a < r; ++a) {
        for (int b = 0; b < r; ++b) {
          sum += g[static_cast<size_t>(i)][static_cast<size_t>(a)] * double{w[a * r + b]} *
                 g[static_cast<size_t>(j)][static_cast<size_t>(b)];
        }
      }
      u[i * alpha + j] = static_cast<float>(sum);
    }
  }
}

}  // namespace pare::runtime
