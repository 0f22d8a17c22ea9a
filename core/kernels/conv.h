#pragma once
// Convolution as implicit GEMM over NHWC. The forward pass, the data gradient (one problem per
// stride phase), matrix products and linear layers are all one problem, Gather:
//
//   y[i, j, n] = bias[n] + sum over taps (r, c), channels k   x[i * step + r - top, j * step + c -
//   left, k] * w[r, c, k, n]
//
// and the weight gradient is Outer:   dw[n, r, c, k] = sum over i, j   dy[i, j, n] * x[same window]
//
// In NHWC the taps of one kernel row are contiguous, so the reduction is a few long runs: no
// im2col. A band of output rows is computed at a time; where the window leaves the image, the
// band's input rows are first copied into scratch with a zero halo, otherwise they are read in
// place.
//
// With bfloat16 operands the copy makes words of two numbers that are neighbours along the
// reduction (core/kernels/bf16.h): two channels of a pixel for Gather, the same channel of two
// pixels for Outer. A word is as wide as a float, so everything behind the copy stays as it is.
// Likewise with integers, for Gather: words of four bytes (core/kernels/quads.h), whose sums become
// values when they are stored.

#include <cstdint>
#include <vector>

#include "core/kernels/ahead.h"
#include "core/kernels/conv_tile.h"
#include "core/kernels/outer_product.h"
#include "core/kernels/quads.h"
#include "core/kernels/source.h"
#include "core/kernels/windows.h"
#include "core/parallel.h"

namespace pare::kernels {

/// Runs of fewer values than this are copied side by side, windows of up to so many words.
inline constexpr int64_t kShortRun = 32, kLongWindow = 640;

/// How a pass finds its operands: in memory as they are, computed on the way (see Source), rounded
/// to pairs of bfloat16, or as integers in quads of bytes. Only the first may be read in place.
enum class Operands { stored, computed, bf16, integers };
/// Numbers in one word.
inline int64_t word_size(Operands o) {
  return o == Operands::integers ? 4 : o == Operands::bf16 ? 2 : 1;
}

struct ConvShape {
  int64_t images, height, width, in;  // x [images, height, width, in]
  int64_t out, kernel_h, kernel_w;    // w [out, kernel_h, kernel_w, in / groups]
  int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1,
          groups = 1;

  int64_t out_h() const {
    return (height + 2 * pad_h - dilation_h * (kernel_h - 1) - 1) / stride_h + 1;
  }
  int64_t out_w() const {
    return (width + 2 * pad_w - dilation_w * (kernel_w - 1) - 1) / stride_w + 1;
  }
  int64_t macs() const {
    return images * out_h() * out_w() * out * kernel_h * kernel_w * (in / groups);
  }
};

/// Output channels cut into register-tile panels: widths of 3, 2 or 1 vectors, never a lonely 1
/// after a 3.
struct Panel {
  int64_t begin;  // first output, within the group
  int64_t cols;   // outputs in use
  int vectors;    // width in vectors; vectors * lanes >= cols
};
std::vector<Panel> make_panels(int64_t outputs, const GatherKernels& kernels);
/// Floats of all packed panels for a reduction of length k.
int64_t packed_floats(const std::vector<Panel>& panels, int64_t k, int lanes);

/// One image's input as a rectangle of pixels, how windows step over it, and where outputs go.
struct GatherProblem {
  // Input: `height` x `width` pixels of `channels` floats.
  int64_t height, width, channels;
  int64_t top, left;       // zero rows and columns in front of the input; negative skips some
  int64_t step_h, step_w;  // input pixels per output pixel
  int64_t taps_h, taps_w;  // window, in taps
  int64_t tap_h, tap_w;    // input pixels per tap (dilation)
  // Output: rows x cols pixels, at strides in floats.
  int64_t rows, cols;
  int64_t y_row, y_pixel;
  int64_t group_in = 0;  // input channels of one group; 0 means all

  int64_t in_per_group() const { return group_in ? group_in : channels; }
  /// Words hold channels of one group: there must be one group or a multiple of `word` of them.
  bool fits_words(int64_t word) const { return in_per_group() == channels || group_in % word == 0; }
  int64_t reduction() const { return taps_h * taps_w * in_per_group(); }
  /// True if no window leaves the image, so the input is read in place.
  bool inside() const;
};

/// How a problem is cut: the same for every image.
struct GatherPlan {
  GatherPlan(const GatherProblem& problem, int64_t outputs_per_group,
             Operands operands = Operands::stored);

  Operands operands;
  int64_t source_channels;  // of the input as it comes
  GatherProblem p;          // a channel is a word of them
  const GatherKernels* kernels;
  std::vector<Panel> panels;
  bool copy;            // bands are copied with a halo
  bool windows;         // then windows are copied side by side, group by group
  bool paired_windows;  // and are what is rounded to pairs, since channels would not fill them
  int64_t terms;        // words of one window, of one group
  int64_t band_rows, band_cols;  // output pixels of one band
  int64_t bands_h, bands_w;
  int64_t input_rows, input_cols;         // pixels of one band's input
  int64_t line;                           // floats from input row to input row
  int64_t run;                            // contiguous floats per tap
  std::vector<int64_t> taps;              // offsets
  std::vector<int64_t> x_pixel, y_pixel;  // offsets of a band's pixels, in tile order
  int64_t x_step;                         // from pixel to pixel of a row
  int64_t even;  // pixels that follow each other at that distance, a row or all

  Windows band_windows(int64_t rows, int64_t cols) const;

  int64_t bands() const { return bands_h * bands_w; }
  struct Band {  // in output pixels
    int64_t row, col, rows, cols;
  };
  Band band(int64_t index) const;
  int64_t packed_size() const { return packed_floats(panels, terms, kernels->lanes); }
};

/// What a pass multiplies by; all but the panels are indexed by output channel.
struct GatherWeights {
  const float* panels;           // groups x packed_size words
  const float* bias;             // may be null
  ByteCode code = {};            // with integers, of x,
  const float* start = nullptr;  // the int32 that a sum starts with
  const float* scale = nullptr;  // and y = scale sum + bias
};

/// One band of one image, all panels of all groups. The image begins at pixel `first` of x. Outputs
/// of group g start at y + g * outputs_per_group. Where x turns out not to be on its grid, y is
/// NaN. What is beside is fetched between the tiles.
void gather_band(const GatherPlan& plan, int64_t band, const Source& x, int64_t first,
                 const GatherWeights& w, int64_t groups, int64_t outputs_per_group, float* y,
                 Ahead beside = {}) noexcept;

/// Packs one panel: element (k, n) comes from source(k, n) = base[k_offset(k) + n * n_stride] with
/// k running over taps_h x taps_w x channels at the given strides.
struct PackSource {
  const float* base;
  int64_t tap_h, tap_w, channel;  // strides of the three parts of k
  int64_t output;                 // stride of n
};
void pack_panel(const PackSource& from, int64_t taps_h, int64_t taps_w, int64_t channels,
                const Panel& panel, int lanes, float* to) noexcept;
/// Likewise as pairs of channels.
void pack_panel_pairs(const PackSource& from, int64_t taps_h, int64_t taps_w, int64_t channels,
                      const Panel& panel, int lanes, float* to) noexcept;
/// Likewise as pairs of neighbours in a whole window.
void pack_panel_window_pairs(const PackSource& from, int64_t taps_h, int64_t taps_w,
                             int64_t channels, const Panel& panel, int lanes, float* to) noexcept;
/// Likewise as quads of bytes: value * inverse[n]. sums[n] is the sum of output n's integers; false
/// if a value is not on the grid.
bool pack_panel_quads(const PackSource& from, int64_t taps_h, int64_t taps_w, int64_t channels,
                      const Panel& panel, int lanes, const float* inverse, int32_t* sums,
                      float* to) noexcept;

/// A rectangle of an image that begins at pixel `first` of a source, zero outside of the image.
struct Crop {
  int64_t first, height, width, channels;  // the image
  int64_t row, col, rows, cols;            // the rectangle
};
void copy_crop(const Source& x, const Crop& w, float* to) noexcept;
/// Likewise as pairs of channels.
void copy_crop_pairs(const Source& x, const Crop& w, float* to) noexcept;
/// Likewise as quads of bytes; false if a value is not on the grid.
bool copy_crop_quads(const Source& x, const ByteCode& code, const Crop& w, float* to) noexcept;

/// How the weight gradient walks an image: block by block of output pixels, each with its window
/// rows in scratch (or in place), tile by tile of output channels x window columns.
struct OuterPlan {
  explicit OuterPlan(const ConvShape& shape, Operands operands = Operands::stored);

  ConvShape s;
  bool bf16;
  const TileKernels* kernels;
  bool copy;                       // blocks are copied with a halo
  bool windows;                    // then windows are copied side by side, group by group
  bool flat;                       // 1x1: the pixels of all images are one line
  int64_t block_rows, block_cols;  // output pixels of one block
  int64_t input_cols, line;        // pixels and floats of one input row of a block
  int64_t block_images;            // more than one if they are small
  std::vector<OuterRun> runs;      // contiguous window columns
  std::vector<Panel> panels;       // of one run
  int64_t tap_run;                 // of windows: contiguous floats per tap
  std::vector<int64_t> taps;       // and their offsets
};

/// Told of pixels [first, first + count) of dy before they are read.
using ComeTo = FunctionRef<void(int64_t first, int64_t count)>;

/// dw [out, kernel_h, kernel_w, in/groups] = the gradient of images [first, last), of which there
/// must be one with outputs, restricted to the output channels [out_begin, out_end) of each group;
/// db [out] += all of its sums if out_begin is 0, unless null.
void weight_gradient(const OuterPlan& plan, const Source& x, const float* dy, ComeTo come_to,
                     int64_t first, int64_t last, int64_t out_begin, int64_t out_end, float* dw,
                     float* db) noexcept;

inline constexpr int kMaxPanel = 48;  // floats of the widest panel of any ISA

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// n cut into tiles of nearly equal height: 49 pixels are seven tiles of 7, not six of 8 and a
/// lonely one. Cut once where many loops go over the same n: divisions cost as much as a small
/// tile.
struct TileCut {
  int64_t tiles, height, taller;  // the first `taller` ones are one higher

  TileCut(int64_t n, int64_t max_height)
      : tiles(ceil_div(n, max_height)), height(tiles ? n / tiles : 0), taller(n - tiles * height) {}

  /// f(begin, height)
  template <class F>
  void each(F&& f) const {
    for (int64_t t = 0, begin = 0; t < tiles; ++t) {
      const int64_t rows = height + (t < taller);
      f(begin, static_cast<int>(rows));
      begin += rows;
    }
  }
};

template <class F>
void for_each_tile(int64_t n, int64_t max_height, F&& f) {
  TileCut(n, max_height).each(f);
}

}  // namespace pare::kernels
