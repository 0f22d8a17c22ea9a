// The weight gradient: sums of outer products of dy and x windows, accumulated in registers over a
// block of pixels.

#include <algorithm>

#include "core/kernels/bf16.h"
#include "core/kernels/conv.h"
#include "core/kernels/reduce.h"
#include "core/scratch.h"

namespace pare::kernels {

namespace {

/// Pixels of one block: its x columns and dy rows stay in L1 while the tiles pass over them.
constexpr int64_t kBlockPixels = 128;

/// One block: where its windows and its dy begin. `step` is from column to column, in output
/// pixels: with bf16 a column is two of them.
struct Block {
  const float* x;
  const float* dy;
  int64_t rows, cols, step = 1;
};

/// db[n] += the block's sum of dy
void add_columns(const OuterPlan& plan, const Block& b, float* db) noexcept {
  const int64_t out = plan.s.out;
  Scratch scratch;
  float* sums = scratch.floats(out);
  sum_columns(b.dy, b.rows * b.cols, out, out, sums);
  for (int64_t n = 0; n < out; ++n) db[n] += sums[n];
}

/// The block as pairs of output pixels that are neighbours in a row, the odd last one with zero:
/// word k of input pixel q is (x[q][k], x[q + stride][k]). Both operands go into `scratch`.
Block in_pairs(const OuterPlan& plan, const Block& b, int64_t input_rows, int64_t input_cols,
               Scratch& scratch) noexcept {
  const int64_t in = plan.s.in, out = plan.s.out, apart = plan.s.stride_w;
  const int64_t cols = pairs(b.cols);
  float* x = scratch.floats(input_rows * plan.line + kMaxPanel);
  float* dy = scratch.floats(b.rows * cols * out);
  const int64_t both = std::max<int64_t>(input_cols - apart, 0) * in;
  for (int64_t r = 0; r < input_rows; ++r) {
    const float* row = b.x + r * plan.line;
    bf16_row_pairs(row, row + apart * in, both, x + r * plan.line);
    bf16_row_pairs(row + both, nullptr, input_cols * in - both, x + r * plan.line + both);
  }
  for (int64_t i = 0; i < b.rows * cols; ++i) {
    const int64_t col = i % cols * 2;
    const float* first = b.dy + (i / cols * b.cols + col) * out;
    bf16_row_pairs(first, col + 1 < b.cols ? first + out : nullptr, out, dy + i * out);
  }
  return {x, dy, b.rows, cols, 2};
}

/// What is multiplied: both sides of one group's block, and the first of `count` output channels.
struct Factors {
  const float* x;
  int64_t x_pixel, x_line;
  const float* dy;
  int64_t dy_pixel, dy_line;
  int64_t lines, pixels;
  int64_t channel, count;
};

void outer_block(const OuterPlan& plan, const Factors& o, float* dw) noexcept {
  const ConvShape& s = plan.s;
  const int64_t dw_row = s.kernel_h * s.kernel_w * (s.in / s.groups);
  for (const OuterPlan::Run& run : plan.runs) {
    for (const Panel& panel : plan.panels) {
      OuterTile tile{o.x + run.offset + panel.begin,
                     o.x_pixel,
                     o.x_line,
                     nullptr,
                     o.dy_pixel,
                     o.dy_line,
                     o.lines,
                     o.pixels,
                     nullptr,
                     dw_row,
                     panel.cols};
      for_each_tile(o.count, plan.kernels->max_rows(panel.vectors), [&](int64_t m, int height) {
        tile.dy = o.dy + m;
        tile.dw = dw + (o.channel + m) * dw_row + run.column + panel.begin;
        plan.kernels->outer(height, panel.vectors, tile);
      });
    }
  }
}

/// All tiles of one group, for its output channels [begin, end).
void outer_group(const OuterPlan& plan, const Block& b, int64_t group, int64_t begin, int64_t end,
                 float* dw) noexcept {
  const ConvShape& s = plan.s;
  const int64_t channel = group * (s.out / s.groups) + begin, count = end - begin;
  const float *x = b.x + group * (s.in / s.groups), *dy = b.dy + channel;
  const int64_t x_pixel = b.step * s.stride_w * s.in, x_line = s.stride_h * plan.line;
  if (!plan.windows) {
    const int64_t dy_line = b.cols * s.out;
    outer_block(plan, {x, x_pixel, x_line, dy, s.out, dy_line, b.rows, b.cols, channel, count}, dw);
    return;
  }
  const int64_t pixels = b.rows * b.cols, zero = 0;
  const Windows windows{b.rows,      b.cols,           x_line,
                        x_pixel,     plan.taps.data(), static_cast<int64_t>(plan.taps.size()),
                        plan.tap_run};
  Scratch scratch;  // a vector load may run past the last column: one panel of slack
  float* columns = scratch.floats(pixels * windows.length() + kMaxPanel);
  float* gradient = scratch.floats(pixels * count);
  copy_windows(x, windows, columns);
  copy_windows(dy, {1, pixels, 0, s.out, &zero, 1, count}, gradient);
  outer_block(plan, {columns, windows.length(), 0, gradient, count, 0, 1, pixels, channel, count},
              dw);
}

}  // namespace

OuterPlan::OuterPlan(const ConvShape& shape, Operands operands)
    : s(shape),
      bf16(operands == Operands::bf16),
      kernels(bf16 ? &pair_kernels() : &tile_kernels()) {
  const bool inside = s.pad_h == 0 && s.pad_w == 0;
  copy = operands != Operands::stored || !inside;
  flat = inside && s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1;
  block_cols = flat ? kBlockPixels : s.out_w();
  block_rows = flat ? 1 : std::clamp<int64_t>(kBlockPixels / s.out_w(), 1, s.out_h());
  input_cols = copy ? (block_cols - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1 : s.width;
  line = input_cols * s.in;
  // One run per kernel row where its taps are neighbours in memory, else one per tap.
  const int64_t in = s.in / s.groups, window = s.kernel_h * s.kernel_w * in;
  const bool joined = s.dilation_w == 1 && s.groups == 1;
  tap_run = joined ? s.kernel_w * in : in;
  for (int64_t r = 0; r < s.kernel_h; ++r) {
    for (int64_t c = 0; c < (joined ? 1 : s.kernel_w); ++c) {
      taps.push_back(r * s.dilation_h * line + c * s.dilation_w * s.in);
      runs.push_back({taps.back(), (r * s.kernel_w + c) * in});
    }
  }
  windows = (s.groups > 1 || (tap_run < kShortRun && taps.size() > 1)) && window <= kLongWindow;
  if (windows) runs = {{0, 0}};
  panels = make_panels(windows ? window : tap_run, *kernels);
}

void weight_gradient(const OuterPlan& plan, const Source& x, const float* dy, int64_t first,
                     int64_t last, int64_t out_begin, int64_t out_end, float* dw,
                     float* db) noexcept {
  const ConvShape& s = plan.s;
  const int64_t images = last - first;
  // 1x1: the images are one row of pixels.
  const int64_t rows = plan.flat ? 1 : s.out_h();
  const int64_t line = plan.flat ? s.out_h() * s.out_w() * images : s.out_w();
  const int64_t height = plan.flat ? 1 : s.height, width = plan.flat ? line : s.width;
  Scratch scratch;
  const auto input_rows = [&](int64_t block_rows) {
    return (block_rows - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  };
  // A vector load may run past the last column: one panel of slack.
  float* copied =
      plan.copy ? scratch.floats(input_rows(plan.block_rows) * plan.line + kMaxPanel) : nullptr;
  for (int64_t image = first; image < (plan.flat ? first + 1 : last); ++image) {
    const int64_t pixel = image * s.height * s.width;
    const float* image_dy = dy + image * s.out_h() * s.out_w() * s.out;
    for (int64_t row = 0; row < rows; row += plan.block_rows) {
      for (int64_t col = 0; col < line; col += plan.block_cols) {
        Block b{nullptr, image_dy + (row * line + col) * s.out,
                std::min(plan.block_rows, rows - row), std::min(plan.block_cols, line - col)};
        Scratch block_scratch;
        const int64_t in_row = row * s.stride_h - s.pad_h, in_col = col * s.stride_w - s.pad_w;
        const int64_t used = (b.cols - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
        if (plan.copy) {
          copy_crop(x, {pixel, height, width, s.in, in_row, in_col, input_rows(b.rows), used},
                    copied);
          b.x = copied;
        } else {
          b.x = x.x + (pixel + in_row * width + in_col) * s.in;
        }
        if (db && out_begin == 0) add_columns(plan, b, db);
        if (plan.bf16) b = in_pairs(plan, b, input_rows(b.rows), used, block_scratch);
        for (int64_t g = 0; g < s.groups; ++g) {
          outer_group(plan, b, g, out_begin, out_end, dw);
        }
      }
    }
  }
}

}  // namespace pare::kernels
