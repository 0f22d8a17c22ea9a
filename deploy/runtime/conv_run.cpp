// Running a convolution: a band of the image into scratch with zeros around it, panels over its
// pixels, the finish of each tile.

#include <algorithm>
#include <cstring>

#include "deploy/runtime/conv.h"
#include "deploy/runtime/shares.h"

namespace pare::runtime {

using kernels::kMaxPanels;
using kernels::kMaxRows;
using kernels::kMaxSignRows;
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

}  // namespace

int64_t Conv::units() const {
  if (kind_ == Kind::winograd) return winograd_tiles(winograd_, out_).units();
  if (flat_) return (ow_ + kFlatPixels - 1) / kFlatPixels;
  const int64_t rows = rows_of_band(row_bytes_, w_.sh, oh_);
  return (oh_ + rows - 1) / rows;
}

Conv::Unit Conv::unit_of(int64_t unit) const {
  if (flat_) return {0, 1, unit * kFlatPixels, std::min(ow_, (unit + 1) * kFlatPixels)};
  const int64_t rows = rows_of_band(row_bytes_, w_.sh, oh_);
  return {unit * rows, std::min(oh_, (unit + 1) * rows), 0, ow_};
}

Conv::Source Conv::source(const Unit& u, const uint8_t* x, std::vector<uint32_t>& scratch) const {
  const int64_t stride = w_.sh * row_bytes_, column = w_.sw * pixel_bytes_;
  if (direct_) return {x + u.r0 * stride, stride, column};
  const int64_t first = u.r0 * w_.sh - w_.ph;
  const int64_t rows = (u.r1 - u.r0 - 1) * w_.sh + (w_.kh - 1) * w_.dh + 1;
  // The last word of the last window may end behind the last pixel.
  const auto words = static_cast<size_t>(rows * row_bytes_ / 4 + 2);
  if (scratch.size() < words) scratch.resize(words);
  auto* to = reinterpret_cast<uint8_t*>(scratch.data());
  const int outside = kind_ == Kind::codes ? in_.zero : 0;
  const auto row_bytes = static_cast<size_t>(row_bytes_);
  const auto margin = static_cast<size_t>(w_.pw * pixel_bytes_), inner = row_bytes - 2 * margin;
  for (int64_t r = first; r < first + rows; ++r, to += row_bytes) {
    if (r < 0 || r >= h_) {
      std::memset(to, outside, row_bytes);
      continue;
    }
    std::memset(to, outside, margin);
    std::memcpy(to + margin, x + r * static_cast<int64_t>(inner), inner);
    std::memset(to + margin + inner, outside, margin);
  }
  return {reinterpret_cast<const uint8_t*>(scratch.data()), stride, column};
}

kernels::FinishTile Conv::finish_of(int64_t channel, int64_t count) const {
  const auto at = static_cast<size_t>(padded(channel));
  kernels::FinishTile f{};
  f.count = count;
  if (!scale_.empty()) f.scale = scale_.data() + at, f.bias = bias_.data() + at;
  f.min = min_, f.max = max_, f.zero = out_.zero, f.half_away = half_away_;
  f.y_row = out_.c;
  return f;
}

/// `pixel` is where the first of `rows` pixels goes.
void Conv::finish(kernels::FinishTile& f, const void* raw, int64_t rows, int64_t channel,
                  uint8_t* pixel) const {
  const kernels::Kernels& k = kernels::active();
  f.raw = raw, f.rows = rows;
  if (out_.type == Type::bits) return finish_bits(f, channel, pixel);
  f.y = pixel + channel * (out_.type == Type::f32 ? 4 : 1);
  if (in_.type == Type::f32) return k.float_to_float(f);
  (out_.type == Type::f32 ? k.int_to_float : k.int_to_code)(f);
}

void Conv::finish_bits(const kernels::FinishTile& tile, int64_t channel, uint8_t* pixel) const {
  const auto at = static_cast<size_t>(padded(channel));
  const int64_t numbers = (tile.count + kPanel - 1) / kPanel, row_bytes = out_.pixel_bytes();
  const bool whole = channel % kPanel == 0;  // else they are shifted into their places
  constexpr int64_t kMost = kMaxPanels * kWidePanel / kPanel;
  uint16_t apart[kMaxRows * kMost];
  const bool floats = in_.type == Type::f32;
  kernels::FinishBits f{
      .raw = tile.raw, .raw_row = tile.raw_row, .rows = tile.rows, .count = tile.count};
  if (floats) {
    f.scale = tile.scale, f.bias = tile.bias, f.min = min_, f.max = max_;
  } else {
    f.threshold = threshold_.data() + at, f.falls = falls_.data() + at / kPanel;
  }
  f.y = whole ? reinterpret_cast<uint16_t*>(pixel) + channel / kPanel : apart;
  f.y_row = whole ? row_bytes / 2 : numbers;
  const kernels::Kernels& k = kernels::active();
  (floats ? k.float_to_bits : k.int_to_bits)(f);
  for (int64_t m = 0; m < f.rows && !whole; ++m) {
    auto* words = reinterpret_cast<uint32_t*>(pixel + m * row_bytes);
    for (int64_t i = 0; i < numbers; ++i) {
      const uint32_t bits = apart[m * numbers + i];
      const int64_t to = channel + i * kPanel, shift = to % 32;
      words[to / 32] |= bits << shift;
      if (const uint32_t over = shift > 16 ? bits >> (32 - shift) : 0) words[to / 32 + 1] |= over;
    }
  }
}

std::vector<int32_t> Conv::window_sums(const Unit& u, const Source& s, int64_t group) const {
  std::vector<int32_t> sums;
  if (!odd_) return sums;
  const kernels::Kernels& k = kernels::active();
  alignas(64) int32_t raw[kMaxRows * kPanel];
  const int64_t at = padded_channels();
  kernels::Tile t{};
  t.x_pixel = s.column, t.offsets = offsets_.data(), t.runs = runs_, t.run = run_;
  t.w = panels_.data() + at / panel_ * panel_words_;
  t.start = start_.data() + at;
  t.raw = raw;
  sums.reserve(static_cast<size_t>((u.r1 - u.r0) * (u.c1 - u.c0)));
  for (int64_t r = u.r0; r < u.r1; ++r) {
    for_shares(u.c0, u.c1, k.rows[0], [&](int64_t c, int64_t rows) {
      t.x = s.x + (r - u.r0) * s.row + c * s.column + first_byte(group);
      k.codes[rows - 1][0](t);
      for (int64_t m = 0; m < rows; ++m) sums.push_back(raw[m * kPanel]);
    });
  }
  return sums;
}

void Conv::run_panels(const Unit& u, const Source& s, int64_t group, int64_t panel, int64_t panels,
                      const std::vector<int32_t>& sums, uint8_t* y) const {
  const kernels::Kernels& k = kernels::active();
  constexpr int64_t kMost =  // numbers of the largest tile
      std::max(kMaxRows * kMaxPanels * kPanel, kMaxSignRows * kMaxPanels * kWidePanel);
  alignas(64) int32_t raw[kMost];
  const int32_t* base[kMaxRows];
  const int64_t at = group * panels_of_group_ + panel, channels = panels * panel_;
  kernels::Tile t{};
  t.x_pixel = s.column, t.offsets = offsets_.data(), t.runs = runs_, t.run = run_;
  t.w = panels_.data() + at * panel_words_;
  t.start = start_.data() + at * panel_;
  t.mask = masked_ ? masks_.data() + at * panel_words_ : nullptr;
  t.base = base, t.raw = raw;
  const int64_t channel = group * out_of_group_ + panel * panel_;
  kernels::FinishTile f = finish_of(channel, std::min(channels, out_of_group_ - panel * panel_));
  f.raw_row = channels;
  const bool signs = kind_ == Kind::signs;
  const int32_t* sum = sums.data();
  const int64_t most = signs ? k.sign_rows : k.rows[panels - 1];
  const auto tile = [&](int64_t r, int64_t c, int64_t rows) {
    t.x = s.x + (r - u.r0) * s.row + c * s.column + first_byte(group);
    if (signs) {
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
    for (int64_t m = 0; odd_ && m < rows; ++m) {
      const int32_t plus = *sum++;
      int32_t* of_pixel = raw + m * channels;
      for (int64_t i = 0; i < channels; ++i) of_pixel[i] = 2 * of_pixel[i] + plus;
    }
    finish(f, raw, rows, channel, y + (r * ow_ + c) * out_.pixel_bytes());
  };
  for (int64_t r = u.r0; r < u.r1; ++r) {
    for_shares(u.c0, u.c1, most, [&](int64_t c, int64_t rows) { tile(r, c, rows); });
  }
}

void Conv::run_depthwise(const Unit& u, const uint8_t* x, uint8_t* y) const {
  const kernels::Kernels& k = kernels::active();
  const int64_t taps = int64_t{w_.kh} * w_.kw;
  std::vector<const uint8_t*> at(static_cast<size_t>(taps));
  std::vector<const float*> floats_at(at.size());
  std::vector<int32_t> raw(static_cast<size_t>(padded_channels())), ones(odd_ ? raw.size() : 0);
  std::vector<float> float_raw(raw.size());
  // Channels of a depthwise convolution lie side by side, one to a group.
  kernels::FinishTile f = finish_of(0, out_.c);
  f.raw_row = padded_channels();
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
        if (odd_) k.depthwise_codes(at.data(), ones_.data(), taps, out_.c, in_.zero, ones.data());
        for (size_t i = 0; i < ones.size(); ++i) raw[i] = 2 * raw[i] + ones[i];
      }
      const void* sums = in_.type == Type::f32 ? static_cast<const void*>(float_raw.data())
                                               : static_cast<const void*>(raw.data());
      finish(f, sums, 1, 0, y + (r * ow_ + c) * out_.pixel_bytes());
    }
  }
}

void Conv::run(int64_t unit, const uint8_t* x, uint8_t* y, std::vector<uint32_t>& scratch) const {
  if (kind_ == Kind::winograd) return run_winograd(unit, x, y, scratch);
  const Unit u = unit_of(unit);
  if (out_.type == Type::bits) {
    uint8_t* from = y + (u.r0 * ow_ + u.c0) * out_.pixel_bytes();
    const int64_t pixels = flat_ ? u.c1 - u.c0 : (u.r1 - u.r0) * ow_;
    std::memset(from, 0, static_cast<size_t>(pixels * out_.pixel_bytes()));
  }
  if (kind_ == Kind::depthwise) return run_depthwise(u, x, y);
  const Source s = source(u, x, scratch);
  for (int64_t g = 0; g < groups_; ++g) {
    const std::vector<int32_t> sums = window_sums(u, s, g);
    for_shares(0, panels_of_group_, kernels::active().panels,
               [&](int64_t p, int64_t panels) { run_panels(u, s, g, p, panels, sums, y); });
  }
}

}  // namespace pare::runtime
