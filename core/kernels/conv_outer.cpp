// The weight gradient: sums of outer products of dy and x windows, a block of pixels at a time.

#include <algorithm>

#include "core/kernels/bf16.h"
#include "core/kernels/conv.h"
#include "core/kernels/reduce.h"
#include "core/scratch.h"

namespace pare::kernels {

namespace {

/// One block: output rows of one image, or several whole images. `step` is from column to column,
/// in output pixels: with bf16 a column is two of them.
struct Block {
  const float* x;   // first window
  int64_t x_image;  // floats from image to image
  const float* dy;  // without gaps
  int64_t images, rows, cols, step = 1;

  int64_t lines() const { return images * rows; }
};

/// db[n] += the block's sum of dy
void add_columns(const OuterPlan& plan, const Block& b, float* db) noexcept {
  const int64_t out = plan.s.out;
  Scratch scratch;
  float* sums = scratch.floats(out);
  sum_columns(b.dy, b.lines() * b.cols, out, out, sums);
  for (int64_t n = 0; n < out; ++n) db[n] += sums[n];
}

/// What a block like this one reads if it follows in memory; x is read from `x` on.
Ahead next_block(const OuterPlan& plan, const Block& b, const float* x) noexcept {
  const ConvShape& s = plan.s;
  const int64_t pixels = b.lines() * b.cols;
  Ahead ahead;
  ahead.add(b.dy + pixels * s.out, pixels * s.out);
  ahead.add(x, pixels * s.stride_h * s.stride_w * s.in);
  return ahead;
}

/// Pixels 2i and 2i + 1 of a line side by side, an odd last one with zero: to [pairs(pixels),
/// channels].
void pair_pixels(const float* from, int64_t pixels, int64_t channels, float* to) noexcept {
  for (int64_t i = 0; i < pixels; i += 2, from += 2 * channels, to += channels) {
    bf16_row_pairs(from, i + 1 < pixels ? from + channels : nullptr, channels, to);
  }
}

/// The block as pairs of output pixels that are neighbours in a row, the odd last one with zero:
/// word k of input pixel q is (x[q][k], x[q + stride][k]), where windows begin at any pixel. Both
/// operands go into `scratch`.
Block in_pairs(const OuterPlan& plan, const Block& b, int64_t input_rows, int64_t input_cols,
               Scratch& scratch) noexcept {
  const int64_t in = plan.s.in, out = plan.s.out, apart = plan.s.stride_w;
  const int64_t cols = pairs(b.cols);
  float* dy = scratch.floats(b.lines() * cols * out);
  for (int64_t i = 0; i < b.lines(); ++i) {
    pair_pixels(b.dy + i * b.cols * out, b.cols, out, dy + i * cols * out);
  }
  float* x = scratch.floats(b.images * input_rows * plan.line + kMaxPanel);
  if (plan.flat) {
    pair_pixels(b.x, b.cols, in, x);
    return {x, b.x_image, dy, b.images, b.rows, cols, 1};
  }
  const int64_t both = std::max<int64_t>(input_cols - apart, 0) * in;
  for (int64_t r = 0; r < b.images * input_rows; ++r) {
    const float* row = b.x + r * plan.line;
    bf16_row_pairs(row, row + apart * in, both, x + r * plan.line);
    bf16_row_pairs(row + both, nullptr, input_cols * in - both, x + r * plan.line + both);
  }
  return {x, b.x_image, dy, b.images, b.rows, cols, 2};
}

/// All tiles of one group, for its output channels [begin, end).
void outer_group(const OuterPlan& plan, const Block& b, int64_t group, int64_t begin, int64_t end,
                 bool add, float* dw, Ahead& ahead) noexcept {
  const ConvShape& s = plan.s;
  const int64_t channel = group * (s.out / s.groups) + begin;
  const int64_t dw_row = s.kernel_h * s.kernel_w * (s.in / s.groups);
  const float *x = b.x + group * (s.in / s.groups), *dy = b.dy + channel;
  const int64_t x_pixel = b.step * s.stride_w * s.in, x_line = s.stride_h * plan.line;
  const float* lines[kBlockPixels];
  for (int64_t i = 0; i < b.lines(); ++i) {
    lines[i] = x + i / b.rows * b.x_image + i % b.rows * x_line;
  }
  OuterBlock block{b.lines(), lines, x_pixel, b.cols, dy, s.out, end - begin, add};
  Scratch scratch;
  if (plan.windows) {
    const int64_t pixels = b.lines() * b.cols;
    const Windows windows{b.rows,      b.cols,           x_line,
                          x_pixel,     plan.taps.data(), static_cast<int64_t>(plan.taps.size()),
                          plan.tap_run};
    // A vector load may run past the last column: one panel of slack.
    float* columns = scratch.floats(pixels * windows.length() + kMaxPanel);
    for (int64_t image = 0; image < b.images; ++image) {
      copy_windows(x + image * b.x_image, windows,
                   columns + image * b.rows * b.cols * windows.length());
    }
    lines[0] = columns;
    block.x_pixel = windows.length(), block.lines = 1, block.pixels = pixels;
  }
  add_outer_product(*plan.kernels, block, plan.runs, plan.panels, dw + channel * dw_row, dw_row,
                    ahead);
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
  const bool whole = copy && block_rows == s.out_h();
  block_images = whole ? std::max<int64_t>(kBlockPixels / (s.out_h() * s.out_w()), 1) : 1;
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
  windows = taps.size() > 1 && (s.groups > 1 || tap_run < kShortRun) && window <= kLongWindow;
  if (windows) runs = {{0, 0}};
  panels = make_panels(windows ? window : tap_run, *kernels);
}

void weight_gradient(const OuterPlan& plan, const Source& x, const float* dy, ComeTo come_to,
                     int64_t first, int64_t last, int64_t out_begin, int64_t out_end, float* dw,
                     float* db) noexcept {
  const ConvShape& s = plan.s;
  // 1x1: the images are one row of pixels.
  const int64_t images = plan.flat ? 1 : last - first;
  const int64_t rows = plan.flat ? 1 : s.out_h();
  const int64_t line = plan.flat ? s.out_h() * s.out_w() * (last - first) : s.out_w();
  const int64_t height = plan.flat ? 1 : s.height, width = plan.flat ? line : s.width;
  const auto input_rows = [&](int64_t block_rows) {
    return (block_rows - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  };
  Scratch scratch;
  // A vector load may run past the last column: one panel of slack.
  const int64_t x_image = input_rows(plan.block_rows) * plan.line;
  // Pairs of pixels are a copy themselves.
  const bool copy = plan.copy && !(plan.flat && plan.bf16 && x.stored());
  float* copied = copy ? scratch.floats(plan.block_images * x_image + kMaxPanel) : nullptr;
  bool add = false;  // the first block begins dw
  const auto add_block = [&](int64_t image, int64_t row, int64_t col) {
    const int64_t out_pixel = (first + image) * s.out_h() * s.out_w() + row * line + col;
    Block b{copied,
            x_image,
            dy + out_pixel * s.out,
            std::min(plan.block_images, images - image),
            std::min(plan.block_rows, rows - row),
            std::min(plan.block_cols, line - col)};
    come_to(out_pixel, b.lines() * b.cols);
    const int64_t in_row = row * s.stride_h - s.pad_h, in_col = col * s.stride_w - s.pad_w;
    const int64_t used = (b.cols - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
    const int64_t pixel = (first + image) * s.height * s.width;
    if (!copy) b.x = x.x + (pixel + in_row * width + in_col) * s.in;
    Crop crop{pixel, height, width, s.in, in_row, in_col, input_rows(b.rows), used};
    for (int64_t i = 0; copy && i < b.images; ++i, crop.first += s.height * s.width) {
      copy_crop(x, crop, copied + i * x_image);
    }
    if (db && out_begin == 0) add_columns(plan, b, db);
    const int64_t read =
        plan.flat ? col + b.cols : (in_row + b.lines() * s.stride_h) * width + in_col;
    Ahead ahead = next_block(plan, b, x.x + (pixel + read) * s.in);
    Scratch pairs;
    if (plan.bf16) b = in_pairs(plan, b, input_rows(b.rows), used, pairs);
    for (int64_t g = 0; g < s.groups; ++g)
      outer_group(plan, b, g, out_begin, out_end, add, dw, ahead);
    add = true;
  };
  for (int64_t image = 0; image < images; image += plan.block_images) {
    for (int64_t row = 0; row < rows; row += plan.block_rows) {
      for (int64_t col = 0; col < line; col += plan.block_cols) add_block(image, row, col);
    }
  }
}

}  // namespace pare::kernels
