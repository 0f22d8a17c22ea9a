// Convolutions of floats by Winograd's algorithm: a band of the image with zeros around it, its
// tiles transformed, a matrix product for each point, sums transformed back, the finish of each
// row.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "deploy/runtime/conv.h"
#include "deploy/runtime/shares.h"

namespace pare::runtime {

using kernels::kMaxPanels;
using kernels::kPanel;

namespace {

int64_t whole_lines(int64_t floats) { return (floats + 15) / 16 * 16; }

/// Floats from point to point: not a power of two, or all points would meet in a few cache lines.
int64_t plane_of(int64_t floats) { return whole_lines(floats) + 16; }

/// The first cache line of a thread's memory, which has room for `floats` from there on.
float* lines_of(std::vector<uint32_t>& scratch, int64_t floats) {
  const auto need = static_cast<size_t>(floats + 16);
  if (scratch.size() < need) scratch.resize(need);
  const auto at = reinterpret_cast<uintptr_t>(scratch.data());
  return reinterpret_cast<float*>(scratch.data()) + (64 - at % 64) % 64 / 4;
}

}  // namespace

/// Panels [point][panel][in][16].
void Conv::build_winograd() {
  const int64_t window = int64_t{w_.kh} * w_.kw, in = in_.c, filter = window * in;
  const int points = winograd_.points();
  panels_of_group_ = (out_.c + kPanel - 1) / kPanel, panel_words_ = in * kPanel;
  panels_.assign(static_cast<size_t>(points * panels_of_group_ * panel_words_), 0);
  start_.assign(kMaxPanels * kPanel, 0);
  std::vector<float> w(static_cast<size_t>(filter)), one(static_cast<size_t>(window));
  std::vector<float> u(static_cast<size_t>(points));
  std::vector<int16_t> numbers(coding_ == Coding::f32 ? 0 : w.size());
  for (int64_t f = 0; f < out_.c; ++f) {
    const int64_t bytes = filter_bytes(coding_, filter);
    if (coding_ == Coding::f32) {
      std::memcpy(w.data(), weights_.data + f * bytes, static_cast<size_t>(bytes));
    } else {
      unpack_filter(coding_, weights_.data + f * bytes, filter, numbers.data());
      std::copy(numbers.begin(), numbers.end(), w.begin());
    }
    for (int64_t i = 0; i < in; ++i) {
      for (int64_t t = 0; t < window; ++t) {
        one[static_cast<size_t>(t)] = w[static_cast<size_t>(t * in + i)];
      }
      winograd_weight(winograd_, one.data(), u.data());
      for (int point = 0; point < points; ++point) {
        const int64_t panel = point * panels_of_group_ + f / kPanel;
        panels_[static_cast<size_t>(panel * panel_words_ + i * kPanel + f % kPanel)] =
            std::bit_cast<uint32_t>(u[static_cast<size_t>(point)]);
      }
    }
  }
  weights_ = {};
}

void Conv::run_winograd(int64_t unit, const uint8_t* x, uint8_t* y,
                        std::vector<uint32_t>& scratch) const {
  const kernels::Kernels& k = kernels::active();
  const WinogradTiles all = winograd_tiles(winograd_, out_);
  const int64_t m = winograd_.m;
  const int alpha = winograd_.alpha(), points = winograd_.points();
  const int64_t first = unit * all.unit_rows, in = in_.c;
  const int64_t tile_rows = std::min(all.unit_rows, all.rows - first);
  const int64_t tiles = tile_rows * all.columns, halo = winograd_.r - 1;
  const int64_t rows = tile_rows * m + halo, columns = all.columns * m + halo;
  const int64_t v_tile = whole_lines(in), v_plane = plane_of(tiles * v_tile),
                widest = kMaxPanels * kPanel;
  const int64_t product_plane = plane_of(tiles * widest);
  const int64_t line = all.columns * m * widest;
  const int64_t band_floats = whole_lines(rows * columns * in);
  float* band = lines_of(scratch, band_floats + points * (v_plane + product_plane) + m * line);
  float* v = band + band_floats;
  float* products = v + points * v_plane;
  float* sums = products + points * product_plane;

  const auto* image = reinterpret_cast<const float*>(x);
  const int64_t inside = std::min(width_, columns - w_.pw);
  for (int64_t i = 0; i < rows; ++i) {
    float* to = band + i * columns * in;
    const int64_t row = first * m - w_.ph + i;
    if (row < 0 || row >= h_) {
      std::fill_n(to, columns * in, 0.0f);
      continue;
    }
    std::fill_n(to, w_.pw * in, 0.0f);
    std::copy_n(image + row * width_ * in, inside * in, to + w_.pw * in);
    std::fill_n(to + (w_.pw + inside) * in, (columns - w_.pw - inside) * in, 0.0f);
  }
  for (int64_t i = 0; i < tile_rows; ++i) {
    k.winograd_input({alpha, winograd_.m, band + i * m * columns * in, columns * in, in,
                      all.columns, v + i * all.columns * v_tile, v_tile, v_plane});
  }

  const int64_t y_rows = std::min(tile_rows * m, oh_ - first * m),
                y_bytes = ow_ * out_.pixel_bytes();
  uint8_t* y_first = y + first * m * y_bytes;
  if (out_.type == Type::bits) std::memset(y_first, 0, static_cast<size_t>(y_rows * y_bytes));
  const int64_t offset = 0;
  kernels::Tile t{};
  t.x_pixel = v_tile * 4, t.offsets = &offset, t.runs = 1, t.run = in;
  t.start = start_.data();
  for_shares(0, panels_of_group_, k.panels, [&](int64_t panel, int64_t panels) {
    const int64_t channels = panels * kPanel;
    for (int point = 0; point < points; ++point) {
      t.w = panels_.data() + (point * panels_of_group_ + panel) * panel_words_;
      for_shares(0, tiles, k.rows[panels - 1], [&](int64_t tile, int64_t count) {
        t.x = reinterpret_cast<const uint8_t*>(v + point * v_plane + tile * v_tile);
        t.raw = products + point * product_plane + tile * channels;
        k.floats[count - 1][panels - 1](t);
      });
    }
    const int64_t channel = panel * kPanel;
    kernels::FinishTile f = finish_of(channel, std::min(channels, out_.c - channel));
    f.raw_row = channels;
    for (int64_t i = 0; i < tile_rows; ++i) {
      const int64_t y_row = all.columns * m * channels;
      k.winograd_output({alpha, winograd_.m, products + i * all.columns * channels, product_plane,
                         channels, all.columns, sums, y_row});
      for (int64_t j = 0; j < std::min(m, y_rows - i * m); ++j) {
        finish(f, sums + j * y_row, ow_, channel, y_first + (i * m + j) * y_bytes);
      }
    }
  });
}

}  // namespace pare::runtime
