#pragma once
// Winograd's minimal filtering, Lavin & Gray 2015, arXiv:1509.09308. F(m x m, r x r) computes m x m
// outputs of an r x r convolution from alpha x alpha inputs, alpha = m + r - 1, with alpha^2
// products per channel pair instead of m^2 r^2:
//
//   y = A^T [ sum over channels (G g G^T) * (B^T d B) ] A
//
// The sums over channels are alpha^2 matrix products, one for each point of the transformed tile;
// the register tiles of conv_tile.h do them. F(2x2, 3x3) saves 2.25 times the products, F(4x4, 3x3)
// 4 times, F(2x2, 5x5) 2.8 times. Points: 0, 1, -1, infinity (alpha 4) and 0, 5/8, -5/8, 3/2, -3/2,
// infinity (alpha 6).
//
// The expression is linear in g, so its gradient is the transposed one, with as few products:
//
//   dg = G^T [ sum over tiles (A dy A^T) * (B^T d B) ] G

#include <cstdint>
#include <vector>

#include "core/kernels/ahead.h"
#include "core/kernels/conv.h"
#include "core/kernels/outer_product.h"

namespace pare::kernels {

struct WinogradKind {
  int m, r;
  bool bf16 = false;  // transformed operands are rounded to bfloat16, as words of two
  int alpha() const { return m + r - 1; }
  int points() const { return alpha() * alpha(); }
};

/// Floats from plane to plane of [points] planes of this many: an odd number of cache lines, since
/// a transform touches all planes at once and powers of two apart they would share a few sets of
/// L1.
constexpr int64_t winograd_plane(int64_t floats) {
  constexpr int64_t kLine = 16;
  return ((floats + kLine - 1) / kLine | 1) * kLine;
}

/// What transformed tiles are kept as: floats, or words of two bfloat16 numbers
/// (core/kernels/bf16.h) that are neighbours along a sum: over channels, whose number must be even,
/// or over tiles, where a last one is paired with zeros.
enum class TileWords { floats, channel_pairs, tile_pairs };

/// How they lie: in a plane for each point, a line of channels for each tile or pair of tiles.
struct TileLayout {
  TileWords words;
  int64_t line, plane;  // floats from line to line, and from plane to plane

  /// Of a row of tiles.
  int64_t lines(int64_t tiles) const {
    return words == TileWords::tile_pairs ? (tiles + 1) / 2 : tiles;
  }
};

/// A row of tiles, m pixels apart, where the image lies in memory; what is outside of it is zero.
struct TileRow {
  const float* image;               // [height, width, channels]
  int64_t height, width, channels;  // of the image
  int64_t row, col, tiles;          // the first tile's corner, and how many
};
/// v[point * plane + tile * line + c] = B^T d B, or words of them
void winograd_input(WinogradKind kind, const TileRow& row, const TileLayout& layout,
                    float* v) noexcept;
/// u[point * plane + i] = G g G^T, taps g at packed[tap * channels * width + i], i < channels *
/// width; with bfloat16 words of two channels, u[point * plane + c / 2 * width + n].
void winograd_weight(WinogradKind kind, const float* packed, int64_t channels, int64_t width,
                     int64_t plane, float* u) noexcept;
/// y = A^T m A + bias for `channels` channels of a row of tiles; rows x columns pixels of it lie
/// inside the output.
struct WinogradOutput {
  const float* products;  // [points] planes of [tiles, stride]
  int64_t tiles, plane, stride;
  const float* bias;  // [channels]
  int64_t channels;
  float* y;
  int64_t y_row, y_pixel;
  int64_t rows, columns;
};
void winograd_output(WinogradKind kind, const WinogradOutput& out) noexcept;

/// z[point * plane + tile * line + c] = A dy A^T, or words of them
void winograd_output_grad(WinogradKind kind, const TileRow& row, const TileLayout& layout,
                          float* z) noexcept;
/// dw[tap * dw_tap + i] = G^T du G for du at du[point * plane + i], i < count.
void winograd_weight_grad(WinogradKind kind, const float* du, int64_t plane, int64_t count,
                          float* dw, int64_t dw_tap) noexcept;

/// How the tiles of all images are cut into batches whose transformed inputs stay in cache. A batch
/// is some rows of tiles of one image, or some whole images: its outputs are contiguous pixels.
struct WinogradPlan {
  WinogradPlan(const GatherProblem& problem, int64_t images, int64_t outputs, WinogradKind kind);
  /// Stride 1, no dilation, one group, a kernel of this size, enough channels to fill vectors, with
  /// bfloat16 an even number of them.
  static bool applies(const GatherProblem& problem, int64_t groups, int64_t outputs,
                      WinogradKind kind);

  GatherProblem p;
  WinogradKind kind;
  const TileKernels* kernels;
  std::vector<Panel> panels;
  int64_t images, tiles_h, tiles_w;
  int64_t batch_images, batch_rows;  // of tiles; one of the two is 1 or all
  int64_t row_batches;               // batches of one image
  /// All weights would go to memory and come back, and are more than all tiles and their products:
  /// better to go panel by panel.
  bool weights_outweigh;

  /// Words that the products sum up over channels.
  int64_t terms() const { return kind.bf16 ? p.channels / 2 : p.channels; }
  /// So many tiles as those sums read them.
  TileLayout factors(int64_t count) const {
    return {kind.bf16 ? TileWords::channel_pairs : TileWords::floats, terms(),
            winograd_plane(count * terms())};
  }
  /// Lines of `of` channels, so many of them, as the weight gradient reads them, which sums up over
  /// tiles. Tiles of many channels lie an odd number of cache lines apart, and need not be copied
  /// to keep out of each other's way.
  TileLayout summands(int64_t of, int64_t lines) const {
    const int64_t line = spread_pixel(of);
    return {kind.bf16 ? TileWords::tile_pairs : TileWords::floats, line,
            winograd_plane(lines * line)};
  }

  int64_t batches() const;
  int64_t tiles() const { return images * tiles_h * tiles_w; }
  /// Floats of a panel's transformed weights, [points] planes of [terms, width].
  int64_t panel_size(int64_t panel) const;
  struct Batch {
    int64_t image, images, tile_row, tile_rows;
    int64_t first, pixels;  // output pixels, counted over all images
    int64_t tile, tiles;    // the first one, counted likewise, and how many
    int64_t summands;       // of the weight gradient: lines of tiles, or of pairs of them
  };
  Batch batch(int64_t index) const;
};

/// The transformed input of a batch's tiles, [points] planes.
void winograd_batch_input(const WinogradPlan& plan, int64_t index, const Source& x,
                          int64_t image_pixels, const TileLayout& layout, float* v) noexcept;
/// Likewise of the gradient of its outputs, dy [pixels, channels], as the weight gradient's
/// summands.
void winograd_batch_output_grad(const WinogradPlan& plan, int64_t index, const float* dy,
                                int64_t channels, const TileLayout& layout, float* z) noexcept;
/// One batch, all panels; w holds the transformed panels one after the other. What is ahead is
/// fetched between the products, which need little from memory.
void winograd_batch(const WinogradPlan& plan, int64_t index, const Source& x, int64_t image_pixels,
                    const float* w, const float* bias, float* y, int64_t y_image,
                    Ahead ahead = {}) noexcept;

/// One panel, all tiles: the products of `some` terms from `first` on are added to sums, [points]
/// planes of [tiles, width]; the first ones begin them. v [points] planes of [tiles, terms], w
/// [points] planes of [some, width].
void winograd_panel_add(const WinogradPlan& plan, const Panel& panel, const float* v, int64_t first,
                        int64_t some, const float* w, float* sums) noexcept;
/// Floats of all sums of a panel.
int64_t winograd_panel_sums(const WinogradPlan& plan, const Panel& panel);
/// The panel's outputs in all images.
void winograd_panel_store(const WinogradPlan& plan, const Panel& panel, const float* bias,
                          const float* sums, float* y, int64_t y_image) noexcept;

}  // namespace pare::kernels
