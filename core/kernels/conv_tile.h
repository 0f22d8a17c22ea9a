#pragma once
// The two register-tile kernels behind every convolution and matrix product, one table of them per
// ISA. A tile of `rows` x `vectors` accumulators stays in registers while a long inner loop runs
// over it.
//
// This header is included by the ISA files, so it may include nothing that has inline code.

#include <stddef.h>
#include <stdint.h>

namespace pare::kernels {

inline constexpr int kAheadSteps = 8, kAheadPixels = 4;

/// y[m][n] = bias[n] + sum over taps t and k < run of  x[m][tap[t] + k] * w[t * run + k][n]
/// With integers bias and sum are integers, and y = scale[n] * that + shift[n].
struct GatherTile {
  const float* x;          // base of the input
  const int64_t* x_pixel;  // [rows] offset of each output pixel's window
  const int64_t* tap;      // [taps] offset of each contiguous run inside a window
  int64_t taps, run;
  const float* w;          // packed panel [taps * run][vectors * lanes], 64-byte aligned
  float* y;                // base of the output
  const int64_t* y_pixel;  // [rows] offset of each output pixel
  int64_t cols;            // outputs kept, 1 .. vectors * lanes
  const float* bias;       // [vectors * lanes], never null
  const float* ahead;      // memory fetched on the way: a cache line for every kAheadSteps of a run
  const float *scale = nullptr, *shift = nullptr;  // [vectors * lanes], with integers
  /// Distances from pixel to pixel, if they are the same for all: then only the first offset of
  /// each table is looked at. 0: the tables say.
  int64_t x_step = 0, y_step = 0;
};

/// dw[m][j] += sum over lines and pixels of  dy[line][pixel][m] * x[line][pixel][j], or = it
struct OuterTile {
  const float* const* x;  // [lines]
  int64_t x_offset;       // of the first column, in each line
  int64_t x_pixel;        // stride; a vector may read up to lanes - 1 floats behind the last column
  const float* dy;        // lines follow each other
  int64_t dy_pixel;       // stride
  int64_t lines, pixels;
  float* dw;
  int64_t dw_row;      // stride
  int64_t cols;        // columns kept, 1 .. vectors * lanes
  const float* ahead;  // memory fetched on the way: a cache line for every kAheadPixels
  bool add;            // to what is in dw
};

/// y [rows, width] = x [rows, run] * w [run, width], width = vectors * lanes; nothing lies between
/// the rows of w and y.
struct Product {
  const float* x;
  int64_t x_row;  // stride
  const float* w;
  float* y;
  int64_t rows, run;
  int vectors;
  const float* ahead;  // run * width floats, fetched on the way as far as there is time
  bool add = false;    // to what is in y
};

/// Tile heights divide this: a good unit to cut work into.
inline constexpr int kRowUnit = 24;

struct MaxRows {
  int of[3];
  constexpr int operator()(int vectors) const { return of[vectors - 1]; }
};

struct GatherKernels {
  int lanes;         // floats per vector
  MaxRows max_rows;  // tile height, by width
  int max_vectors;   // tile width
  void (*gather)(int rows, int vectors, const GatherTile& tile) noexcept;
};

struct TileKernels : GatherKernels {
  void (*outer)(int rows, int vectors, const OuterTile& tile) noexcept;
  /// to [lines * pixels, vectors * lanes] = x at x[line] + offset + pixel * x_pixel
  void (*copy_columns)(int vectors, const float* const* x, int64_t offset, int64_t x_pixel,
                       int64_t lines, int64_t pixels, float* to) noexcept;
  /// to [pixels, rows] = dy at dy + pixel * dy_pixel
  void (*copy_rows)(int rows, const float* dy, int64_t dy_pixel, int64_t pixels,
                    float* to) noexcept;
  void (*product)(const Product&) noexcept;
  /// `steps` rounds of independent FMAs on full registers, nothing else: returns the FLOP it did.
  double (*spin)(int64_t steps) noexcept;
};

extern const TileKernels kTilePortable;
/// The same tiles with pairs of bfloat16 (core/kernels/bf16.h) in the place of each x, w and dy:
/// acc + the product of the second numbers, then + the product of the first.
extern const TileKernels kPairPortable;
#if defined(__x86_64__)
extern const TileKernels kTileAvx2, kTileAvx512;
extern const TileKernels kPairAvx2, kPairAvx512, kPairAvx512Bf16;
/// The same gather tiles with quads of bytes (core/kernels/quads.h), summed in int32.
extern const GatherKernels kQuadAvx512Vnni;
#endif

/// The tables of the active ISA.
const TileKernels& tile_kernels() noexcept;
const TileKernels& pair_kernels() noexcept;
/// Null: this ISA or CPU gains nothing by integers.
const GatherKernels* quad_kernels() noexcept;

}  // namespace pare::kernels
