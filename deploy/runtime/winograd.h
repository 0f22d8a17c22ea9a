#pragma once
// Winograd's algorithm for convolutions of floats (Lavin and Gray 2016, arXiv:1509.09308): m x m
// outputs of an r x r window are alpha^2 products with transformed weights, alpha = m + r - 1,
// where the direct sum has m^2 r^2. Transformed weights are made when a program is loaded.

#include <cstdint>

#include "deploy/runtime/program.h"

namespace pare::runtime {

/// Off: direct sums, in programs that are loaded from then on. On unless the environment says
/// PARE_WINOGRAD=off.
bool winograd_enabled();
void enable_winograd(bool on);

/// F(m x m, r x r); m = 0: none.
struct Winograd {
  int m = 0, r = 0;
  int alpha() const { return m + r - 1; }
  int points() const { return alpha() * alpha(); }
  explicit operator bool() const { return m > 0; }
};

/// Tiles of a convolution, and how many rows of them make a unit of work.
struct WinogradTiles {
  int64_t rows, columns, unit_rows;
  int64_t units() const { return (rows + unit_rows - 1) / unit_rows; }
};
WinogradTiles winograd_tiles(const Winograd& kind, const Buffer& out);

/// What is fastest for this convolution, by its shape alone: the same bytes everywhere.
Winograd winograd_for(const Program& program, const Op& op);

/// u[point] = (G w G^T)[point] of one r x r window.
void winograd_weight(const Winograd& kind, const float* w, float* u);

}  // namespace pare::runtime
