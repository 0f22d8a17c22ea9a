// The matrix product behind Winograd's algorithm against its definition, on every ISA.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/kernels/conv_tile.h"
#include "core/kernels/isa.h"
#include "core/rng.h"
#include "core/tensor.h"

using namespace pare;
using kernels::Product;

namespace {

Tensor normal(int64_t n, uint64_t seed) {
  Rng rng(seed);
  return Tensor::normal({n}, rng);
}

/// Largest difference from x w, or x w + 7, in double, and that nothing behind y was written.
double gap(const Product& p, int64_t width, const Tensor& y) {
  double worst = 0;
  for (int64_t m = 0; m < p.rows; ++m) {
    for (int64_t n = 0; n < width; ++n) {
      double sum = p.add ? 7 : 0;
      for (int64_t k = 0; k < p.run; ++k) sum += double{p.x[m * p.x_row + k]} * p.w[k * width + n];
      worst = std::max(worst, std::abs(sum - y.data()[m * width + n]));
    }
  }
  for (int64_t i = p.rows * width; i < y.numel(); ++i) CHECK(y.data()[i] == 7);
  return worst;
}

}  // namespace

TEST_CASE("product: any number of rows, inputs and vectors, on every ISA") {
  const Isa before = active_isa();
  for (Isa isa : supported_isas()) {
    force_isa(isa);
    const kernels::TileKernels& kernels = kernels::tile_kernels();
    for (int vectors = 1; vectors <= kernels.max_vectors; ++vectors) {
      // 4, 8 and 16 are as many inputs as some ISA's vector has lanes.
      for (int64_t run : {1, 3, 4, 7, 8, 9, 16, 17, 40, 64}) {
        for (int64_t rows : {1, 2, 5, 8, 11, 12, 13, 24, 31, 32, 33}) {
          const int64_t width = vectors * kernels.lanes;
          CAPTURE(static_cast<int>(isa));
          CAPTURE(vectors);
          CAPTURE(run);
          CAPTURE(rows);
          for (int64_t x_row : {run, run + 5}) {
            for (bool add : {false, true}) {
              CAPTURE(x_row);
              CAPTURE(add);
              const Tensor x = normal(rows * x_row, 1), w = normal(run * width, 2);
              Tensor y = Tensor::full({rows * width + kernels.lanes}, 7);
              const Product p{x.data(), x_row,   w.data(), y.data(), rows,
                              run,      vectors, w.data(), add};
              kernels.product(p);
              CHECK(gap(p, width, y) < 4e-6 * std::sqrt(static_cast<double>(run)));
            }
          }
        }
      }
    }
  }
  force_isa(before);
}
