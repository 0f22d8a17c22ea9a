#include "core/kernels/conv.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/kernels/ahead.h"
#include "core/kernels/bf16.h"
#include "core/scratch.h"

namespace pare::kernels {

namespace {

/// Input and output floats of one band: they fit a core's L2 beside a weight panel, so that whoever
/// looks at the output next (batch norm's sums) finds it there.
constexpr int64_t kBandInput = 32 * 1024, kBandOutput = 64 * 1024;

GatherProblem in_words(GatherProblem p, int64_t word) {
  p.group_in = p.in_per_group() == p.channels ? 0 : ceil_div(p.group_in, word);
  p.channels = ceil_div(p.channels, word);
  return p;
}

/// Few and odd channels would leave every other word of a pixel half empty.
bool pairs_windows(const GatherProblem& p, Operands operands) {
  const bool joined = p.tap_w == 1 && p.in_per_group() == p.channels;
  return operands == Operands::bf16 && joined && p.channels % 2 == 1 &&
         p.taps_w * p.channels < kShortRun && p.taps_h > 1 && p.reduction() <= kLongWindow;
}

const GatherKernels* kernels_for(Operands operands) {
  switch (operands) {
    case Operands::integers:
      return quad_kernels();
    case Operands::bf16:
      return &pair_kernels();
    default:
      return &tile_kernels();
  }
}

}  // namespace

std::vector<Panel> make_panels(int64_t outputs, const GatherKernels& kernels) {
  std::vector<Panel> panels;
  int64_t vectors = ceil_div(outputs, kernels.lanes), begin = 0;
  while (vectors > 0) {
    int64_t width = std::min<int64_t>(vectors, kernels.max_vectors);
    if (vectors == kernels.max_vectors + 1 && width > 1) width = ceil_div(vectors, 2);
    const int64_t cols = std::min(width * kernels.lanes, outputs - begin);
    panels.push_back({begin, cols, static_cast<int>(width)});
    begin += cols;
    vectors -= width;
  }
  return panels;
}

int64_t packed_floats(const std::vector<Panel>& panels, int64_t k, int lanes) {
  int64_t vectors = 0;
  for (const Panel& p : panels) vectors += p.vectors;
  return vectors * lanes * k;
}

bool GatherProblem::inside() const {
  const int64_t bottom = (rows - 1) * step_h - top + (taps_h - 1) * tap_h;
  const int64_t right = (cols - 1) * step_w - left + (taps_w - 1) * tap_w;
  return top <= 0 && left <= 0 && bottom < height && right < width;
}

GatherPlan::GatherPlan(const GatherProblem& problem, int64_t outputs_per_group, Operands how)
    : operands(how),
      source_channels(problem.channels),
      p(in_words(problem, pairs_windows(problem, how) ? 1 : word_size(how))),
      kernels(kernels_for(operands)),
      panels(make_panels(outputs_per_group, *kernels)),
      paired_windows(pairs_windows(problem, how)),
      terms(paired_windows ? pairs(p.reduction()) : p.reduction()) {
  const bool inside = p.inside();
  copy = operands != Operands::stored || !inside;
  const int64_t reach_h = (p.taps_h - 1) * p.tap_h + 1, reach_w = (p.taps_w - 1) * p.tap_w + 1;
  // Rows per band: as many as fit; columns are cut only where no window leaves the image and a row
  // is long. By shape alone: the bands are the blocks that batch norm's sums are made of.
  const int64_t row_in = std::max<int64_t>(1, p.step_h * p.width * p.channels);
  const int64_t row_out = std::max<int64_t>(1, p.cols * p.y_pixel);
  band_rows = std::clamp<int64_t>(std::min(kBandInput / row_in, kBandOutput / row_out), 1,
                                  std::max<int64_t>(p.rows, 1));
  band_cols = p.cols;
  if (inside && band_rows == 1) {
    const int64_t fit = std::min(kBandInput / std::max<int64_t>(1, p.step_w * p.channels),
                                 kBandOutput / std::max<int64_t>(1, p.y_pixel));
    band_cols =
        std::clamp<int64_t>(fit / kRowUnit * kRowUnit, kRowUnit, std::max<int64_t>(p.cols, 1));
  }
  bands_h = ceil_div(p.rows, band_rows);
  bands_w = ceil_div(p.cols, band_cols);
  input_rows = (band_rows - 1) * p.step_h + reach_h;
  input_cols = (band_cols - 1) * p.step_w + reach_w;
  line = (copy ? input_cols : p.width) * p.channels;

  // One run per kernel row where its taps are neighbours in memory, else one per tap.
  const bool joined = p.tap_w == 1 && p.in_per_group() == p.channels;
  run = joined ? p.taps_w * p.channels : p.in_per_group();
  for (int64_t r = 0; r < p.taps_h; ++r) {
    for (int64_t c = 0; c < (joined ? 1 : p.taps_w); ++c) {
      taps.push_back(r * p.tap_h * line + c * p.tap_w * p.channels);
    }
  }
  windows = paired_windows || (joined && run * word_size(operands) < kShortRun && taps.size() > 1 &&
                               p.reduction() <= kLongWindow);
  for (int64_t i = 0; i < band_rows; ++i) {
    for (int64_t j = 0; j < band_cols; ++j) {
      x_pixel.push_back(windows ? (i * band_cols + j) * terms
                                : i * p.step_h * line + j * p.step_w * p.channels);
      y_pixel.push_back(i * p.y_row + j * p.y_pixel);
    }
  }
  x_step = windows ? terms : p.step_w * p.channels;
  const bool joined_rows =
      (windows || p.step_h * line == band_cols * x_step) && p.y_row == band_cols * p.y_pixel;
  even = joined_rows ? band_rows * band_cols : band_cols;
}

Windows GatherPlan::band_windows(int64_t rows, int64_t cols) const {
  return {rows,
          cols,
          p.step_h * line,
          p.step_w * p.channels,
          taps.data(),
          static_cast<int64_t>(taps.size()),
          run,
          paired_windows ? 2 * terms - p.reduction() : 0};
}

GatherPlan::Band GatherPlan::band(int64_t index) const {
  const int64_t row = index / bands_w * band_rows, col = index % bands_w * band_cols;
  return {row, col, std::min(band_rows, p.rows - row), std::min(band_cols, p.cols - col)};
}

namespace {

/// The band's input, in place or copied.
struct BandInput {
  const float* base;
  bool inside = true;  // on the grid
};

BandInput band_input(const GatherPlan& plan, const Source& x, int64_t first, const ByteCode& code,
                     int64_t row, int64_t col, int64_t rows, Scratch& scratch) {
  const GatherProblem& p = plan.p;
  if (!plan.copy) return {x.x + (first + row * p.width + col) * p.channels};
  const int64_t used = (rows - 1) * p.step_h + (p.taps_h - 1) * p.tap_h + 1;
  float* copied = scratch.floats(plan.input_rows * plan.line);
  const Crop crop{first, p.height, p.width, plan.source_channels, row, col, used, plan.input_cols};
  bool inside = true;
  switch (plan.operands) {
    case Operands::integers:
      inside = copy_crop_quads(x, code, crop, copied);
      break;
    case Operands::bf16:
      plan.paired_windows ? copy_crop(x, crop, copied) : copy_crop_pairs(x, crop, copied);
      break;
    default:
      copy_crop(x, crop, copied);
  }
  return {copied, inside};
}

/// All windows of a band, in pairs if need be.
void band_windows(const GatherPlan& plan, const float* input, int64_t rows, int64_t cols,
                  float* to) noexcept {
  Windows all = plan.band_windows(rows, cols);
  if (!plan.paired_windows) return copy_windows(input, all, to);
  constexpr int64_t kFloats = 4096;  // which stay in L1
  const int64_t some = std::clamp<int64_t>(kFloats / all.length(), 1, cols);
  Scratch scratch;
  float* floats = scratch.floats(some * all.length());
  all.rows = 1;
  for (int64_t row = 0; row < rows; ++row, input += all.x_row) {
    for (int64_t col = 0; col < cols; col += some, to += all.cols * plan.terms) {
      all.cols = std::min(some, cols - col);
      copy_windows(input + col * all.x_col, all, floats);
      bf16_channel_pairs(floats, all.cols, all.length(), to);
    }
  }
}

/// How a band's pixels are cut into tiles: along each stretch of pixels at equal distances, unless
/// that makes too many too low ones.
struct Tiles {
  int64_t pixels, stretch;
  TileCut cut;
  bool even;

  Tiles(const GatherPlan& plan, int64_t all, int max_height)
      : pixels(all), stretch(std::min(plan.even, all)), cut(stretch, max_height) {
    even = stretch == pixels || (3 * cut.height >= 2 * max_height && plan.terms <= kLongWindow);
    if (!even) stretch = pixels, cut = TileCut(pixels, max_height);
  }
  int64_t count() const { return pixels / stretch * cut.tiles; }
  /// f(first pixel, height)
  template <class F>
  void each(F&& f) const {
    for (int64_t first = 0; first < pixels; first += stretch) {
      cut.each([&](int64_t begin, int height) { f(first + begin, height); });
    }
  }
};

/// What the tiles of one panel start with and end with.
struct PanelEdges {
  alignas(64) float start[kMaxPanel] = {}, scale[kMaxPanel] = {}, shift[kMaxPanel] = {};

  void fill(const GatherWeights& w, int64_t output, int64_t cols, bool inside) {
    const auto copy = [&](const float* from, float* to) {
      if (from) std::memcpy(to, from + output, static_cast<size_t>(cols) * sizeof(float));
    };
    copy(w.scale ? w.start : w.bias, start);
    if (!w.scale) return;
    copy(w.bias, shift);
    copy(w.scale, scale);
    if (!inside) std::fill(scale, scale + cols, std::numeric_limits<float>::quiet_NaN());
  }
};

}  // namespace

void gather_band(const GatherPlan& plan, int64_t band, const Source& x, int64_t first,
                 const GatherWeights& weights, int64_t groups, int64_t outputs_per_group, float* y,
                 Ahead beside) noexcept {
  const GatherProblem& p = plan.p;
  const auto [row, col, rows, cols] = plan.band(band);
  const int64_t pixels =
      rows * cols;  // a cut band is one row, so its pixels are a prefix of the tables

  Scratch scratch;
  const int64_t in_row = row * p.step_h - p.top, in_col = col * p.step_w - p.left;
  const BandInput in = band_input(plan, x, first, weights.code, in_row, in_col, rows, scratch);
  y += row * p.y_row + col * p.y_pixel;

  const GatherKernels& kernels = *plan.kernels;
  PanelEdges edges;
  const float* w = weights.panels;
  const int64_t no_tap = 0;
  float* windows = plan.windows ? scratch.floats(pixels * plan.terms) : nullptr;
  Ahead ahead;
  const int64_t next_row = in_row + plan.input_rows, next = rows * p.step_h * p.width;
  ahead.add(x.x + (first + next_row * p.width) * plan.source_channels, next * plan.source_channels);
  int64_t tiles = 0;
  for (const Panel& panel : plan.panels) {
    tiles += groups * Tiles(plan, pixels, kernels.max_rows(panel.vectors)).count();
  }
  const int64_t lines = ceil_div(beside.lines(), tiles);
  for (int64_t g = 0; g < groups; ++g) {
    const float* input = in.base + g * p.in_per_group();
    if (windows) band_windows(plan, input, rows, cols, windows);
    for (const Panel& panel : plan.panels) {
      const int64_t output = g * outputs_per_group + panel.begin;
      edges.fill(weights, output, panel.cols, in.inside);
      GatherTile tile{windows ? windows : input,
                      nullptr,
                      windows ? &no_tap : plan.taps.data(),
                      windows ? 1 : static_cast<int64_t>(plan.taps.size()),
                      windows ? plan.terms : plan.run,
                      w,
                      y + output,
                      nullptr,
                      panel.cols,
                      edges.start,
                      nullptr,
                      edges.scale,
                      edges.shift};
      const Tiles cut(plan, pixels, kernels.max_rows(panel.vectors));
      if (cut.even) tile.x_step = plan.x_step, tile.y_step = plan.p.y_pixel;
      cut.each([&](int64_t i, int height) {
        tile.x_pixel = plan.x_pixel.data() + i;
        tile.y_pixel = plan.y_pixel.data() + i;
        tile.ahead = ahead.take(tile.taps * (tile.run / kAheadSteps), input);
        kernels.gather(height, panel.vectors, tile);
        beside.fetch(lines);
      });
      w += panel.vectors * kernels.lanes * plan.terms;
    }
  }
}

}  // namespace pare::kernels
