#pragma once
// One image: random window, flip and normalization in a single pass over its bytes. Private to
// datasets.

#include <array>
#include <cstdint>

#include "core/rng.h"
#include "core/shape.h"
#include "datasets/datasets.h"

namespace pare::datasets {

/// The 256 normalized values of each channel.
LookupTable lookup_table(const Normalize& normalize);
/// y[i, j, c] = table[c][x[i, j, c]], C 1 or 3
void look_up(const uint8_t* x, const Shape& image, const LookupTable& table, float* y);

/// Which part of the image is seen: the window's top left corner, which may lie outside, and
/// mirroring.
struct View {
  int dy = 0, dx = 0;
  bool flip = false;
};

/// dy, dx uniform over -pad .. pad, flip with probability 1/2 if asked for.
View random_view(int pad, bool flip, Rng& rng);

/// y[i, j, c] = table[c][x[i + dy, j + dx, c]], columns mirrored by flip, pixels outside x are 0.
/// x and y [H, W, C], C 1 or 3.
void place(const uint8_t* x, const Shape& image, const View& view, const LookupTable& table,
           float* y);
/// The same without a table: bytes.
void place(const uint8_t* x, const Shape& image, const View& view, uint8_t* y);

}  // namespace pare::datasets
