// Running a convolution: a band of the image into scratch with zeros around it, panels over its
// pixels, the finish of each tile.

#include <algorithm>
#include <cstring>

#include "deploy/runtime/conv.h"

namespace pare::runtime {

using kernels::kMaxPanels;
using kernels::kMaxRows;
using kernels::kPanel;
using kernels::kWidePanel;

namespace {

constexpr int64_t kBandBytes = 48 << 10;  // of input: in the second cache beside the panels
constexpr int64_t kFlatPixels = 96;       // of a unit of a 1x1 convolution: whole tiles of 6 and 8

int64_t rows_of_band(int64_t row_bytes, int64_t stride, int64_t out_rows) {
  const int64_t most = std::max<int64_t>(1, kBandBytes / (row_bytes * stride));
  // A few at least, so that two threads have something to share.
  const int64_t bands = std::max((out_rows + most - 1) / most, std::min<int64_t>(4, out_rows / 4));
  return (out_rows + bands - 1) / bands;
}

/// Panels for the next tile, so that none of `left` ends up alone.
int64_t even_share(int64_t left, int64_t most) {
  const int64_t shares = (left + most - 1) / most;
  return (left + shares - 1) / shares;
}

}  // namespace

int64_t Conv::units() const {
  if (flat_) return (ow_ + kFlatPixels - 1) / kFlatPixels;
  const int64_t rows = rows_of_band(row_words_ * 4, w_.sh, oh_);
  return (oh_ + rows - 1) / rows;
}

Conv::Unit Conv::unit_of(int64_t unit) const {
  if (flat_) return {0, 1, unit * kFlatPixels, std::min(ow_, (unit + 1) * kFlatPixels)};
  const int64_t rows = rows_of_band(row_words_ * 4, w_.sh, oh_);
  return {unit * rows, std::min(oh_, (unit + 1) * rows), 0, ow_};
}

/// A row of the image as words; codes of groups that are no multiple of four are spread.
void Conv::pack_row(const uint8_t* x, uint32_t* to) const {
  if (kind_ != Kind::codes || in_of_group_ % 4 == 0) {
    std::memcpy(to, x, static_cast<size_t>(width_ * pixel_words_) * 4);
    return;
  }
  auto* bytes = reinterpret_cast<uint8_t*>(to);
  for (int64_t i = 0; i < width_ * groups_; ++i) {
    for (int64_t c = 0; c < in_of_group_; ++c) bytes[c] = x[c];
    x += in_of_group_;
    bytes += group_words_ * 4;
  }
}

Conv::Source Conv::source(const Unit& u, const uint8_t* x, std::vector<uint32_t>& scratch) const {
  const int64_t stride = w_.sh * row_words_, column = w_.sw * pixel_words_;
  if (direct_) {
    const auto* words = reinterpret_cast<const uint32_t*>(x);
    return {words + u.r0 * stride, stride, column};
  }
  const int64_t first = u.r0 * w_.sh - w_.ph;
  const int64_t rows = (u.r1 - u.r0 - 1) * w_.sh + (w_.kh - 1) * w_.dh + 1;
  const auto words = static_cast<size_t>(rows * row_words_);
  if (scratch.size() < words) scratch.resize(words);
  const uint32_t outside =
      kind_ == Kind::codes ? static_cast<uint32_t>(in_.zero) * 0x01010101u : 0u;
  const int64_t row_bytes = width_ * in_.pixel_bytes(), margin = w_.pw * pixel_words_;
  for (int64_t r = 0; r < rows; ++r) {
    uint32_t* to = scratch.data() + r * row_words_;
    const int64_t from = first + r;
    if (from < 0 || from >= h_) {
      std::fill(to, to + row_words_, outside);
      continue;
    }
    std::fill(to, to + margin, outside);
    pack_row(x + from * row_bytes, to + margin);
    std::fill(to + row_words_ - margin, to + row_words_, outside);
  }
  return {scratch.data(), stride, column};
}

void Conv::finish(const void* raw, int64_t raw_row, int64_t rows, int64_t r, int64_t c,
                  int64_t channel, int64_t count, uint8_t* y) const {
  const kernels::Kernels& k = kernels::active();
  const auto at = static_cast<size_t>(padded(channel));
  uint8_t* pixel = y + (r * ow_ + c) * out_.pixel_bytes();
  if (out_.type == Type::bits) return finish_bits(raw, raw_row, rows, pixel, channel, count);
  const int64_t element = out_.type == Type::f32 ? 4 : 1;
  const kernels::FinishTile f{
      raw,  raw_row, rows,      count,      scale_.data() + at,        bias_.data() + at,
      min_, max_,    out_.zero, half_away_, pixel + channel * element, out_.c};
  if (in_.type == Type::f32) return k.float_to_float(f);
  (out_.type == Type::f32 ? k.int_to_float : k.int_to_code)(f);
}

void Conv::finish_bits(const void* raw, int64_t raw_row, int64_t rows, uint8_t* pixel,
                       int64_t channel, int64_t count) const {
  const auto at = static_cast<size_t>(padded(channel));
  const int64_t numbers = (count + kPanel - 1) / kPanel, row_bytes = out_.pixel_bytes();
  const bool whole = channel % kPanel == 0;  // else they are shifted into their places
  constexpr int64_t kMost = kMaxPanels * kWidePanel / kPanel;
  uint16_t apart[kMaxRows * kMost];
  const bool floats = in_.type == Type::f32;
  kernels::FinishBits f{.raw = raw, .raw_row = raw_row, .rows = rows, .count = count};
  if (floats) {
    f.scale = scale_.data() + at, f.bias = bias_.data() + at, f.min = min_, f.max = max_;
  } else {
    f.threshold = threshold_.data() + at, f.falls = falls_.data() + at / kPanel;
  }
  f.y = whole ? reinterpret_cast<uint16_t*>(pixel) + channel / kPanel : apart;
  f.y_row = whole ? row_bytes / 2 : numbers;
  const kernels::Kernels& k = kernels::active();
  (floats ? k.float_to_bits : k.int_to_bits)(f);
  for (int64_t m = 0; m < rows && !whole; ++m) {
    auto* words = reinterpret_cast<uint32_t*>(pixel + m * row_bytes);
    for (int64_t i = 0; i < numbers; ++i) {
      const uint32_t bits = apart[m * numbers + i];
      const int64_t to = channel + i * kPanel, shift = to % 32;
      words[to / 32] |= bits << shift;
      if (const uint32_t over = shift > 16 ? bits >> (32 - shift) : 0) words[to / 32 + 1] |= over;
    }
  }
}

void Conv::run_panels(const Unit& u, const Source& s, int64_t group, int64_t panel, int64_t panels,
                      uint8_t* y) const {
  const kernels::Kernels& k = kernels::active();
  alignas(64) int32_t raw[kMaxRows * kMaxPanels * kWidePanel];
  const int32_t* base[kMaxRows];
  const int64_t at = group * panels_of_group_ + panel, channels = panels * panel_;
  kernels::Tile t{};
  t.x_pixel = s.column * (tables_ ? 4 : 1), t.offsets = offsets_.data(), t.runs = runs_,
  t.run = run_;
  t.w = panels_.data() + at * panel_words_;
  t.start = start_.data() + at * panel_;
  t.mask = masked_ ? masks_.data() + at * panel_words_ : nullptr;
  t.base = base, t.raw = raw;
  const int64_t channel = group * out_of_group_ + panel * panel_;
  const int64_t valid = std::min(channels, out_of_group_ - panel * panel_);
  for (int64_t r = u.r0; r < u.r1; ++r) {
    for (int64_t c = u.c0; c < u.c1; c += k.rows) {
      const int64_t rows = std::min<int64_t>(k.rows, u.c1 - c);
      const uint32_t* x = s.x + (r - u.r0) * s.row + c * s.column;
      t.x = x + first_word(group);
      t.bytes = reinterpret_cast<const uint8_t*>(x) + group * in_of_group_ / 8;
      if (kind_ == Kind::signs) {
        const int64_t all = padded_channels();
        for (int64_t m = 0; m < rows; ++m) {
          const int64_t border = row_class_[static_cast<size_t>(r)] * column_classes_ +
                                 column_class_[static_cast<size_t>(c + m)];
          base[m] = base_.data() + border * all + at * panel_;
        }
        if (tables_) {
          k.tables[rows - 1][panels - 1](t);
        } else {
          k.signs(t, rows, panels);
        }
      } else {
        (kind_ == Kind::codes ? k.codes : k.floats)[rows - 1][panels - 1](t);
      }
      finish(raw, channels, rows, r, c, channel, valid, y);
    }
  }
}

void Conv::run_depthwise(const Unit& u, const uint8_t* x, uint8_t* y) const {
  const kernels::Kernels& k = kernels::active();
  const int64_t taps = int64_t{w_.kh} * w_.kw;
  std::vector<const uint8_t*> at(static_cast<size_t>(taps));
  std::vector<const float*> floats_at(at.size());
  std::vector<int32_t> raw(static_cast<size_t>(padded_channels()));
  std::vector<float> float_raw(raw.size());
  for (int64_t r = u.r0; r < u.r1; ++r) {
    for (int64_t c = u.c0; c < u.c1; ++c) {
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t i = r * w_.sh - w_.ph + t / w_.kw * w_.dh;
        const int64_t j = c * w_.sw - w_.pw + t % w_.kw * w_.dw;
        const bool inside = i >= 0 && i < h_ && j >= 0 && j < width_;
        const auto tap = static_cast<size_t>(t);
        at[tap] = inside ? x + (i * width_ + j) * in_.pixel_bytes() : nullptr;
        floats_at[tap] = reinterpret_cast<const float*>(at[tap]);
      }
      if (in_.type == Type::f32) {
        k.depthwise_floats(floats_at.data(), depthwise_floats_.data(), taps, out_.c, 0.0f,
                           float_raw.data());
      } else {
        k.depthwise_codes(at.data(), depthwise_.data(), taps, out_.c, in_.zero, raw.data());
      }
      const void* sums = in_.type == Type::f32 ? static_cast<const void*>(float_raw.data())
                                               : static_cast<const void*>(raw.data());
      // Channels of a depthwise convolution lie side by side, one to a group.
      finish(sums, padded_channels(), 1, r, c, 0, out_.c, y);
    }
  }
}

void Conv::run(int64_t unit, const uint8_t* x, uint8_t* y, std::vector<uint32_t>& scratch) const {
  const Unit u = unit_of(unit);
  if (out_.type == Type::bits) {
    uint8_t* from = y + (u.r0 * ow_ + u.c0) * out_.pixel_bytes();
    const int64_t pixels = flat_ ? u.c1 - u.c0 : (u.r1 - u.r0) * ow_;
    std::memset(from, 0, static_cast<size_t>(pixels * out_.pixel_bytes()));
  }
  if (kind_ == Kind::depthwise) return run_depthwise(u, x, y);
  const Source s = source(u, x, scratch);
  for (int64_t g = 0; g < groups_; ++g) {
    for (int64_t p = 0; p < panels_of_group_;) {
      const int64_t panels = even_share(panels_of_group_ - p, kernels::active().panels);
      run_panels(u, s, g, p, panels, y);
      p += panels;
    }
  }
}

}  // namespace pare::runtime
