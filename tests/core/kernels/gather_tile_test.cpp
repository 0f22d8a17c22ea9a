// Tiles of a convolution whose pixels lie at equal distances against the same pixels found in a
// table, to the last bit, and both against their sum, on every ISA.

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/kernels/conv_tile.h"
#include "core/kernels/isa.h"
#include "core/rng.h"
#include "core/tensor.h"

using namespace pare;
using kernels::GatherKernels;
using kernels::GatherTile;

namespace {

constexpr int64_t kTaps = 3, kXStep = 5, kLine = 90, kGap = 3;

/// Operands of one tile, its pixels kXStep floats apart.
struct Case {
  int rows, vectors;
  int64_t run, width;
  Tensor x, w, bias, scale, shift;
  std::vector<int64_t> taps, x_pixel, y_pixel;

  Case(const GatherKernels& k, int r, int v, int64_t steps)
      : rows(r), vectors(v), run(steps), width(v * k.lanes) {
    Rng rng(static_cast<uint64_t>(100 * r + 10 * v + steps));
    x = Tensor::normal({kTaps * kLine + rows * kXStep + run}, rng);
    w = Tensor::normal({kTaps * run * width}, rng);
    bias = Tensor::normal({width}, rng), scale = Tensor::normal({width}, rng);
    shift = Tensor::normal({width}, rng);
    for (int64_t t = 0; t < kTaps; ++t) taps.push_back(t * kLine);
    for (int m = 0; m < rows; ++m) {
      x_pixel.push_back(2 + m * kXStep);
      y_pixel.push_back(1 + m * (width + kGap));
    }
  }

  Tensor run_by(const GatherKernels& kernels, int64_t cols, bool even) const {
    Tensor y = Tensor::full({rows * (width + kGap) + 1}, 7);
    GatherTile tile{x.data(), x_pixel.data(), taps.data(),    kTaps, run,
                    w.data(), y.data(),       y_pixel.data(), cols,  bias.data(),
                    x.data(), scale.data(),   shift.data()};
    if (even) tile.x_step = kXStep, tile.y_step = width + kGap;
    kernels.gather(rows, vectors, tile);
    return y;
  }

  double sum(int m, int64_t n) const {
    double total = bias.data()[n];
    for (int64_t t = 0; t < kTaps; ++t) {
      const float* from = x.data() + x_pixel[static_cast<size_t>(m)] + t * kLine;
      for (int64_t k = 0; k < run; ++k) {
        total += double{from[k]} * w.data()[(t * run + k) * width + n];
      }
    }
    return total;
  }
};

bool same_bits(const Tensor& a, const Tensor& b) {
  return std::memcmp(a.data(), b.data(), static_cast<size_t>(a.numel()) * sizeof(float)) == 0;
}

/// Every height and width; check(case, columns kept, y).
template <class Check>
void for_each_case(const GatherKernels& kernels, Check&& check) {
  for (int vectors = 1; vectors <= kernels.max_vectors; ++vectors) {
    for (int rows = 1; rows <= kernels.max_rows(vectors); ++rows) {
      for (int64_t run : {1, 3, 4, 6, 8, 12, 15, 19}) {
        const Case c(kernels, rows, vectors, run);
        for (int64_t cols : {c.width, c.width - 1}) {
          CAPTURE(rows);
          CAPTURE(vectors);
          CAPTURE(run);
          CAPTURE(cols);
          const Tensor y = c.run_by(kernels, cols, true);
          CHECK(same_bits(y, c.run_by(kernels, cols, false)));
          check(c, cols, y);
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("gather tiles: pixels at equal distances and pixels from a table, on every ISA") {
  const Isa before = active_isa();
  for (Isa isa : supported_isas()) {
    force_isa(isa);
    CAPTURE(static_cast<int>(isa));
    for_each_case(kernels::tile_kernels(), [](const Case& c, int64_t cols, const Tensor& y) {
      const double bound = 4e-6 * std::sqrt(static_cast<double>(kTaps * c.run));
      for (int m = 0; m < c.rows; ++m) {
        const float* at = y.data() + c.y_pixel[static_cast<size_t>(m)];
        for (int64_t n = 0; n < cols; ++n) CHECK(std::abs(at[n] - c.sum(m, n)) < bound);
        for (int64_t n = cols; n < c.width + kGap && m + 1 < c.rows; ++n) CHECK(at[n] == 7);
      }
    });
    const auto only_equal = [](const Case&, int64_t, const Tensor&) {};
    for_each_case(kernels::pair_kernels(), only_equal);
    if (const GatherKernels* quads = kernels::quad_kernels()) for_each_case(*quads, only_equal);
  }
  force_isa(before);
}
