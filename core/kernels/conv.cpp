#include "core/kernels/conv.h"

#include <algorithm>
#include <cstring>

#include "core/kernels/ahead.h"
#include "core/kernels/bf16.h"
#include "core/scratch.h"

namespace pare::kernels {

namespace {

/// Input and output floats of one band: they fit a core's L2 beside a weight panel, so that whoever
/// looks at the output next (batch norm's sums) finds it there.
constexpr int64_t kBandInput = 32 * 1024, kBandOutput = 64 * 1024;

GatherProblem in_pairs(GatherProblem p) {
  p.group_in = p.in_per_group() == p.channels ? 0 : pairs(p.group_in);
  p.channels = pairs(p.channels);
  return p;
}

/// Rows of the rectangle, `width` floats per pixel: zeros, and what load(pixel, count, to) makes.
template <class Load>
void copy_rows(const Crop& w, int64_t width, float* to, Load&& load) {
  const auto clear = [&](float* from, int64_t pixels) {
    std::memset(from, 0, static_cast<size_t>(pixels * width) * sizeof(float));
  };
  const int64_t before = std::clamp<int64_t>(-w.col, 0, w.cols);
  const int64_t end =
      std::clamp<int64_t>(w.width - w.col, before, w.cols);  // columns [before, end) exist
  for (int64_t row = w.row; row < w.row + w.rows; ++row, to += w.cols * width) {
    if (row < 0 || row >= w.height) {
      clear(to, w.cols);
      continue;
    }
    clear(to, before);
    load(w.first + row * w.width + w.col + before, end - before, to + before * width);
    clear(to + end * width, w.cols - end);
  }
}

}  // namespace

std::vector<Panel> make_panels(int64_t outputs, const TileKernels& kernels) {
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

GatherPlan::GatherPlan(const GatherProblem& problem, int64_t outputs_per_group, Operands operands)
    : bf16(operands == Operands::bf16),
      source_channels(problem.channels),
      p(bf16 ? in_pairs(problem) : problem),
      kernels(bf16 ? &pair_kernels() : &tile_kernels()),
      panels(make_panels(outputs_per_group, *kernels)) {
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
  windows = joined && run < kShortRun && taps.size() > 1 && p.reduction() <= kLongWindow;
  for (int64_t i = 0; i < band_rows; ++i) {
    for (int64_t j = 0; j < band_cols; ++j) {
      x_pixel.push_back(windows ? (i * band_cols + j) * p.reduction()
                                : i * p.step_h * line + j * p.step_w * p.channels);
      y_pixel.push_back(i * p.y_row + j * p.y_pixel);
    }
  }
}

Windows GatherPlan::band_windows(int64_t rows, int64_t cols) const {
  return {rows,
          cols,
          p.step_h * line,
          p.step_w * p.channels,
          taps.data(),
          static_cast<int64_t>(taps.size()),
          run};
}

GatherPlan::Band GatherPlan::band(int64_t index) const {
  const int64_t row = index / bands_w * band_rows, col = index % bands_w * band_cols;
  return {row, col, std::min(band_rows, p.rows - row), std::min(band_cols, p.cols - col)};
}

void copy_crop(const Source& x, const Crop& w, float* to) noexcept {
  copy_rows(w, w.channels, to,
            [&](int64_t pixel, int64_t count, float* at) { x.load(pixel, count, w.channels, at); });
}

void copy_crop_pairs(const Source& x, const Crop& w, float* to) noexcept {
  copy_rows(w, pairs(w.channels), to, [&](int64_t pixel, int64_t count, float* at) {
    Scratch scratch;
    const float* values = x.x + pixel * w.channels;
    if (!x.stored()) {
      float* computed = scratch.floats(count * w.channels);
      x.load(pixel, count, w.channels, computed);
      values = computed;
    }
    bf16_channel_pairs(values, count, w.channels, at);
  });
}

void pack_panel(const PackSource& from, int64_t taps_h, int64_t taps_w, int64_t channels,
                const Panel& panel, int lanes, float* to) noexcept {
  const int64_t width = panel.vectors * lanes;
  for (int64_t r = 0; r < taps_h; ++r) {
    for (int64_t c = 0; c < taps_w; ++c) {
      const float* tap = from.base + r * from.tap_h + c * from.tap_w + panel.begin * from.output;
      for (int64_t k = 0; k < channels; ++k, to += width) {
        const float* row = tap + k * from.channel;
        for (int64_t n = 0; n < panel.cols; ++n) to[n] = row[n * from.output];
        for (int64_t n = panel.cols; n < width; ++n) to[n] = 0.0f;
      }
    }
  }
}

void pack_panel_pairs(const PackSource& from, int64_t taps_h, int64_t taps_w, int64_t channels,
                      const Panel& panel, int lanes, float* to) noexcept {
  const int64_t width = panel.vectors * lanes;
  for (int64_t r = 0; r < taps_h; ++r) {
    for (int64_t c = 0; c < taps_w; ++c) {
      const float* tap = from.base + r * from.tap_h + c * from.tap_w + panel.begin * from.output;
      for (int64_t k = 0; k < channels; k += 2, to += width) {
        const float *first = tap + k * from.channel, *second = first + from.channel;
        const bool lonely = k + 1 == channels;
        for (int64_t n = 0; n < panel.cols; ++n) {
          to[n] = bf16_pair(first[n * from.output], lonely ? 0.0f : second[n * from.output]);
        }
        for (int64_t n = panel.cols; n < width; ++n) to[n] = 0.0f;
      }
    }
  }
}

void gather_band(const GatherPlan& plan, int64_t band, const Source& x, int64_t first,
                 const float* w, const float* bias, int64_t groups, int64_t outputs_per_group,
                 float* y) noexcept {
  const GatherProblem& p = plan.p;
  const auto [row, col, rows, cols] = plan.band(band);
  const int64_t pixels =
      rows * cols;  // a cut band is one row, so its pixels are a prefix of the tables

  Scratch scratch;
  const int64_t in_row = row * p.step_h - p.top, in_col = col * p.step_w - p.left;
  const float* base;
  if (plan.copy) {
    const int64_t used = (rows - 1) * p.step_h + (p.taps_h - 1) * p.tap_h + 1;
    float* copied = scratch.floats(plan.input_rows * plan.line);
    const Crop crop{first,  p.height, p.width, plan.source_channels,
                    in_row, in_col,   used,    plan.input_cols};
    plan.bf16 ? copy_crop_pairs(x, crop, copied) : copy_crop(x, crop, copied);
    base = copied;
  } else {
    base = x.x + (first + in_row * p.width + in_col) * p.channels;
  }
  y += row * p.y_row + col * p.y_pixel;

  const TileKernels& kernels = *plan.kernels;
  alignas(64) float panel_bias[kMaxPanel] = {};
  const int64_t no_tap = 0;
  float* windows = plan.windows ? scratch.floats(pixels * p.reduction()) : nullptr;
  Ahead ahead;
  const int64_t next_row = in_row + plan.input_rows, next = rows * p.step_h * p.width;
  ahead.add(x.x + (first + next_row * p.width) * plan.source_channels, next * plan.source_channels);
  for (int64_t g = 0; g < groups; ++g) {
    const float* input = base + g * p.in_per_group();
    if (windows) copy_windows(input, plan.band_windows(rows, cols), windows);
    for (const Panel& panel : plan.panels) {
      const int64_t output = g * outputs_per_group + panel.begin;
      if (bias)
        std::memcpy(panel_bias, bias + output, static_cast<size_t>(panel.cols) * sizeof(float));
      GatherTile tile{windows ? windows : input,
                      nullptr,
                      windows ? &no_tap : plan.taps.data(),
                      windows ? 1 : static_cast<int64_t>(plan.taps.size()),
                      windows ? p.reduction() : plan.run,
                      w,
                      y + output,
                      nullptr,
                      panel.cols,
                      panel_bias,
                      nullptr};
      for_each_tile(pixels, kernels.max_rows(panel.vectors), [&](int64_t i, int height) {
        tile.x_pixel = plan.x_pixel.data() + i;
        tile.y_pixel = plan.y_pixel.data() + i;
        tile.ahead = ahead.take(tile.taps * (tile.run / kAheadSteps), input);
        kernels.gather(height, panel.vectors, tile);
      });
      w += panel.vectors * kernels.lanes * p.reduction();
    }
  }
}

}  // namespace pare::kernels
