#include "core/kernels/outer_product.h"

#include <algorithm>

#include "core/kernels/conv.h"
#include "core/scratch.h"

namespace pare::kernels {

namespace {

/// Rows of dw from which on a strip of x is read often enough to be worth its copy.
constexpr int64_t kManyRows = 32;

int tile_height(const TileKernels& kernels, const std::vector<Panel>& panels) {
  int widest = 1;
  for (const Panel& p : panels) widest = std::max(widest, p.vectors);
  return kernels.max_rows(widest);
}

}  // namespace

void add_outer_product(const TileKernels& kernels, const OuterBlock& b,
                       const std::vector<OuterRun>& runs, const std::vector<Panel>& panels,
                       float* dw, int64_t dw_row, Ahead& ahead) noexcept {
  const int64_t pixels = b.lines * b.pixels;
  const int height = tile_height(kernels, panels);
  const bool copy_x = !spread(b.x_pixel) && b.rows >= kManyRows, copy_dy = !spread(b.dy_pixel);
  Scratch scratch;
  float* x_strip = copy_x ? scratch.floats(pixels * kMaxPanel) : nullptr;
  float* dy_strips = copy_dy ? scratch.floats(pixels * b.rows) : nullptr;
  if (copy_dy) {
    for_each_tile(b.rows, height, [&](int64_t m, int rows) {
      kernels.copy_rows(rows, b.dy + m, b.dy_pixel, pixels, dy_strips + m * pixels);
    });
  }
  for (const OuterRun& run : runs) {
    for (const Panel& panel : panels) {
      OuterTile tile{b.x,        run.offset + panel.begin,
                     b.x_pixel,  nullptr,
                     b.dy_pixel, b.lines,
                     b.pixels,   nullptr,
                     dw_row,     panel.cols,
                     nullptr,    b.add};
      if (copy_x) {
        tile.x_pixel = panel.vectors * kernels.lanes;
        kernels.copy_columns(panel.vectors, tile.x, tile.x_offset, b.x_pixel, b.lines, b.pixels,
                             x_strip);
        tile.x = &x_strip, tile.x_offset = 0, tile.lines = 1, tile.pixels = pixels;
      }
      for_each_tile(b.rows, height, [&](int64_t m, int rows) {
        tile.dy = copy_dy ? dy_strips + m * pixels : b.dy + m;
        if (copy_dy) tile.dy_pixel = rows;
        tile.dw = dw + m * dw_row + run.column + panel.begin;
        tile.ahead = ahead.take(pixels / kAheadPixels, tile.dy);
        kernels.outer(rows, panel.vectors, tile);
      });
    }
  }
}

}  // namespace pare::kernels
