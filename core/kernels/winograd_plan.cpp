#include <algorithm>
#include <cstring>

#include "core/kernels/winograd.h"
#include "core/scratch.h"

namespace pare::kernels {

namespace {

/// Tiles of a batch: with more the transformed tiles and their products leave L2. Weights that come
/// from memory are worth it, since more tiles read them less often, as long as there are batches
/// enough for some threads.
constexpr int64_t kBatchTiles = 32, kBigBatchTiles = 128, kBigWeights = 2 << 20, kFewBatches = 4;
/// Weights that do not fit L2.
constexpr int64_t kManyWeights = 1 << 20;

int64_t tiles_of_batch(int64_t tiles, int64_t weights) {
  if (weights < kBigWeights) return kBatchTiles;
  return std::clamp(tiles / kFewBatches, kBatchTiles, kBigBatchTiles);
}

/// Panels of nearly equal width, an even number of them: there may be little else for threads to
/// share.
std::vector<Panel> equal_panels(int64_t outputs, const TileKernels& kernels) {
  const int64_t lanes = kernels.lanes, vectors = ceil_div(outputs, lanes);
  const int64_t count = std::min(ceil_div(vectors, 2 * kernels.max_vectors) * 2, vectors);
  std::vector<Panel> panels;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = i * vectors / count, end = (i + 1) * vectors / count;
    panels.push_back({begin * lanes, std::min(outputs, end * lanes) - begin * lanes,
                      static_cast<int>(end - begin)});
  }
  return panels;
}

/// Rows of an image as tiles read them: where they lie, or computed into scratch.
struct ImageRows {
  int64_t begin = 0;  // the first row that is there
  TileRow tiles;

  /// Rows [from, to) of the image that begins at pixel `first`, as far as they exist.
  ImageRows(const GatherProblem& p, const Source& x, int64_t first, int64_t from, int64_t to,
            Scratch& scratch) noexcept
      : tiles{x.x + first * p.channels, p.height, p.width, p.channels, 0, 0, 0} {
    if (x.stored()) return;
    begin = std::clamp<int64_t>(from, 0, p.height);
    tiles.height = std::clamp<int64_t>(to, begin, p.height) - begin;
    const int64_t pixels = tiles.height * p.width;
    float* computed = scratch.floats(pixels * p.channels);
    x.load(first + begin * p.width, pixels, p.channels, computed);
    tiles.image = computed;
  }
};

/// Transforms the tiles of one image's rows [row, row + rows) of tiles into v, [points] planes.
void transform_rows(const WinogradPlan& plan, const Source& x, int64_t first, int64_t row,
                    int64_t rows, const TileLayout& layout, float* v) noexcept {
  const GatherProblem& p = plan.p;
  const int m = plan.kind.m;
  const int64_t top = row * m - p.top;
  Scratch scratch;
  ImageRows image(p, x, first, top, top + rows * m + plan.kind.r - 1, scratch);
  image.tiles.col = -p.left, image.tiles.tiles = plan.tiles_w;
  for (int64_t i = 0; i < rows; ++i, v += layout.lines(plan.tiles_w) * layout.line) {
    image.tiles.row = top + i * m - image.begin;
    winograd_input(plan.kind, image.tiles, layout, v);
  }
}

/// The products of one panel: alpha^2 matrix products over the batch's tiles. Behind each, `lines`
/// of what is ahead.
void multiply(const WinogradPlan& plan, const Panel& panel, int64_t tiles, const float* v,
              const float* w, float* products, Ahead& ahead, int64_t lines) noexcept {
  const int64_t width = panel.vectors * plan.kernels->lanes, terms = plan.terms();
  const int64_t plane = winograd_plane(terms * width);
  for (int point = 0; point < plan.kind.points(); ++point, w += plane) {
    plan.kernels->product({v + point * winograd_plane(tiles * terms), terms, w,
                           products + point * winograd_plane(tiles * width), tiles, terms,
                           panel.vectors,
                           w + plane});  // the next point's weights, or the next panel's
    ahead.fetch(lines);
  }
}

void store(const WinogradPlan& plan, const WinogradPlan::Batch& batch, const Panel& panel,
           const float* bias, const float* products, int64_t plane, float* y,
           int64_t y_image) noexcept {
  const GatherProblem& p = plan.p;
  const int m = plan.kind.m;
  const int64_t width = panel.vectors * plan.kernels->lanes;
  alignas(64) float panel_bias[kMaxPanel] = {};
  if (bias) {
    std::memcpy(panel_bias, bias + panel.begin, static_cast<size_t>(panel.cols) * sizeof(float));
  }
  for (int64_t image = batch.image; image < batch.image + batch.images; ++image) {
    for (int64_t i = batch.tile_row; i < batch.tile_row + batch.tile_rows; ++i) {
      float* to = y + image * y_image + i * m * p.y_row + panel.begin;
      winograd_output(plan.kind,
                      {products, plan.tiles_w, plane, width, panel_bias, panel.cols, to, p.y_row,
                       p.y_pixel, std::min<int64_t>(m, p.rows - i * m), p.cols});
      products += plan.tiles_w * width;
    }
  }
}

}  // namespace

WinogradPlan::WinogradPlan(const GatherProblem& problem, int64_t count, int64_t outputs,
                           WinogradKind k)
    : p(problem),
      kind(k),
      kernels(k.bf16 ? &pair_kernels() : &tile_kernels()),
      images(count),
      tiles_h(ceil_div(p.rows, k.m)),
      tiles_w(ceil_div(p.cols, k.m)) {
  const int64_t weights = kind.points() * terms() * outputs;
  weights_outweigh =
      weights >= kManyWeights && 2 * tiles() * (p.channels + outputs) <= p.channels * outputs;
  panels = weights_outweigh ? equal_panels(outputs, *kernels) : make_panels(outputs, *kernels);
  const int64_t fit = weights_outweigh ? kBatchTiles : tiles_of_batch(tiles(), weights);
  batch_images = std::clamp<int64_t>(fit / (tiles_h * tiles_w), 1, images);
  batch_rows = batch_images > 1 ? tiles_h : std::clamp<int64_t>(fit / tiles_w, 1, tiles_h);
  row_batches = ceil_div(tiles_h, batch_rows);
}

bool WinogradPlan::applies(const GatherProblem& p, int64_t groups, int64_t outputs,
                           WinogradKind kind) {
  constexpr int64_t kMinChannels = 4;  // with fewer it is never faster, so not worth measuring
  return groups == 1 && p.step_h == 1 && p.step_w == 1 && p.tap_h == 1 && p.tap_w == 1 &&
         p.taps_h == kind.r && p.taps_w == kind.r && p.channels >= kMinChannels &&
         outputs >= kMinChannels && (!kind.bf16 || p.channels % 2 == 0) &&
         p.y_row == p.cols * p.y_pixel;
}

int64_t WinogradPlan::batches() const { return ceil_div(images, batch_images) * row_batches; }

int64_t WinogradPlan::panel_size(int64_t panel) const {
  const int64_t width = panels[static_cast<size_t>(panel)].vectors * kernels->lanes;
  return kind.points() * winograd_plane(terms() * width);
}

WinogradPlan::Batch WinogradPlan::batch(int64_t index) const {
  Batch b{
      index / row_batches * batch_images, 0, index % row_batches * batch_rows, 0, 0, 0, 0, 0, 0};
  b.images = std::min(batch_images, images - b.image);
  b.tile_rows = std::min(batch_rows, tiles_h - b.tile_row);
  const int64_t row = b.tile_row * kind.m;
  b.first = (b.image * p.rows + row) * p.cols;
  b.pixels = b.images * std::min(b.tile_rows * kind.m, p.rows - row) * p.cols;
  b.tile = (b.image * tiles_h + b.tile_row) * tiles_w;
  b.tiles = b.images * b.tile_rows * tiles_w;
  b.summands = b.images * b.tile_rows * summands(1, 1).lines(tiles_w);
  return b;
}

void winograd_batch_input(const WinogradPlan& plan, int64_t index, const Source& x,
                          int64_t image_pixels, const TileLayout& layout, float* v) noexcept {
  const WinogradPlan::Batch b = plan.batch(index);
  const int64_t image = b.tile_rows * layout.lines(plan.tiles_w) * layout.line;
  for (int64_t i = 0; i < b.images; ++i) {
    transform_rows(plan, x, (b.image + i) * image_pixels, b.tile_row, b.tile_rows, layout,
                   v + i * image);
  }
}

void winograd_batch_output_grad(const WinogradPlan& plan, int64_t index, const float* dy,
                                int64_t channels, const TileLayout& layout, float* z) noexcept {
  const GatherProblem& p = plan.p;
  const int m = plan.kind.m;
  const int64_t line = layout.lines(plan.tiles_w) * layout.line;
  const WinogradPlan::Batch b = plan.batch(index);
  for (int64_t i = 0; i < b.images; ++i) {
    const float* image = dy + (b.image + i) * p.rows * p.cols * channels;
    TileRow tiles{image, p.rows, p.cols, channels, b.tile_row * m, 0, plan.tiles_w};
    for (int64_t row = 0; row < b.tile_rows; ++row, tiles.row += m, z += line) {
      winograd_output_grad(plan.kind, tiles, layout, z);
    }
  }
}

void winograd_batch(const WinogradPlan& plan, int64_t index, const Source& x, int64_t image_pixels,
                    const float* w, const float* bias, float* y, int64_t y_image,
                    Ahead ahead) noexcept {
  const WinogradPlan::Batch batch = plan.batch(index);
  const int64_t tiles = batch.tiles;
  const TileLayout layout = plan.factors(tiles);
  Scratch scratch;
  float* v = scratch.floats(plan.kind.points() * layout.plane);
  float* products = scratch.floats(plan.kind.points() * winograd_plane(tiles * kMaxPanel));
  winograd_batch_input(plan, index, x, image_pixels, layout, v);
  const int64_t products_left = plan.kind.points() * static_cast<int64_t>(plan.panels.size());
  const int64_t lines = ceil_div(ahead.lines(), products_left);
  for (size_t i = 0; i < plan.panels.size(); ++i) {
    const Panel& panel = plan.panels[i];
    multiply(plan, panel, tiles, v, w, products, ahead, lines);
    const int64_t width = panel.vectors * plan.kernels->lanes;
    store(plan, batch, panel, bias, products, winograd_plane(tiles * width), y, y_image);
    w += plan.panel_size(static_cast<int64_t>(i));
  }
}

int64_t winograd_panel_sums(const WinogradPlan& plan, const Panel& panel) {
  return plan.kind.points() * winograd_plane(plan.tiles() * panel.vectors * plan.kernels->lanes);
}

void winograd_panel_add(const WinogradPlan& plan, const Panel& panel, const float* v, int64_t first,
                        int64_t some, const float* w, float* sums) noexcept {
  const int64_t width = panel.vectors * plan.kernels->lanes, terms = plan.terms();
  const int64_t tiles = plan.tiles();
  v += first;
  for (int point = 0; point < plan.kind.points(); ++point) {
    const float* next = w + winograd_plane(some * width);
    plan.kernels->product({v, terms, w, sums, tiles, some, panel.vectors, next, first > 0});
    v += winograd_plane(tiles * terms), w = next;
    sums += winograd_plane(tiles * width);
  }
}

void winograd_panel_store(const WinogradPlan& plan, const Panel& panel, const float* bias,
                          const float* sums, float* y, int64_t y_image) noexcept {
  const int64_t width = panel.vectors * plan.kernels->lanes;
  for (int64_t i = 0; i < plan.batches(); ++i) {
    const WinogradPlan::Batch batch = plan.batch(i);
    store(plan, batch, panel, bias, sums + batch.tile * width, winograd_plane(plan.tiles() * width),
          y, y_image);
  }
}

}  // namespace pare::kernels
