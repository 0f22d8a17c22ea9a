#pragma once
// dw [rows, columns] += (or =) sum over pixels of  dy[pixel][row] * x[pixel][column], a block of
// pixels at a time: the product behind every weight gradient.
//
// Register tiles pass over a block again and again. Pixels read in place lie all their channels
// apart, often a power of two: they share a few sets of L1 and push each other out. So both sides
// are first copied into strips as wide as a tile, pixel after pixel, unless their pixels are
// narrow.

#include <cstdint>
#include <vector>

#include "core/kernels/ahead.h"
#include "core/kernels/conv_tile.h"

namespace pare::kernels {

struct Panel;

/// Pixels of one block: a strip of each side stays in L1.
inline constexpr int64_t kBlockPixels = 128;

/// Pixels to be read in place: so narrow that a block of them fits L1, or an odd number of cache
/// lines apart or none at all, so that they spread over all sets.
constexpr bool spread(int64_t pixel) {
  return pixel <= 64 || pixel % Ahead::kLine != 0 || pixel / Ahead::kLine % 2 == 1;
}
/// Floats from pixel to pixel for who lays them out anyway.
constexpr int64_t spread_pixel(int64_t channels) {
  return spread(channels) ? channels : channels + Ahead::kLine;
}

/// Both sides of a block. A vector may be read up to a panel behind the last column of x.
/// (No two neighbours here are neighbours in OuterTile: copied as one vector they would wait until
/// both, and all that was stored before, have left the store buffer, which was a hundredth of a
/// step.)
struct OuterBlock {
  int64_t lines;
  const float* const* x;  // [lines], of `pixels` pixels each
  int64_t x_pixel;        // stride
  int64_t pixels;
  const float* dy;   // [lines * pixels]
  int64_t dy_pixel;  // stride
  int64_t rows;
  bool add = true;  // to what is in dw, or this begins it
};

/// Neighbours in x that are neighbours in a row of dw too.
struct OuterRun {
  int64_t offset, column;  // from a pixel of x; in a row of dw
};

/// dw [rows, dw_row]; the panels cut each run. What is ahead is fetched on the way.
void add_outer_product(const TileKernels& kernels, const OuterBlock& block,
                       const std::vector<OuterRun>& runs, const std::vector<Panel>& panels,
                       float* dw, int64_t dw_row, Ahead& ahead) noexcept;

}  // namespace pare::kernels
