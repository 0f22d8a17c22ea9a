// What gather_band and its callers copy: rectangles of the input and panels of weights, as floats
// or as words of smaller numbers.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/kernels/bf16.h"
#include "core/kernels/conv.h"
#include "core/kernels/permute.h"
#include "core/kernels/quads.h"
#include "core/scratch.h"

namespace pare::kernels {

namespace {

/// Rows of the rectangle, `width` floats per pixel: the byte `zero` again and again, and what
/// load(pixel, count, to) makes.
template <class Load>
void copy_rows(const Crop& w, int64_t width, uint8_t zero, float* to, Load&& load) {
  const auto clear = [&](float* from, int64_t pixels) {
    std::memset(from, zero, static_cast<size_t>(pixels * width) * sizeof(float));
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

/// f(values, pixels, where its words go) for pixels from `pixel` on: where they lie, or, computed
/// into scratch, some at a time, which stay in L1.
template <class F>
void load_words(const Source& x, int64_t pixel, int64_t count, int64_t channels, int64_t words,
                float* to, F&& f) {
  if (x.stored()) return f(x.x + pixel * channels, count, to);
  constexpr int64_t kFloats = 4096;
  const int64_t some = std::max<int64_t>(kFloats / channels, 1);
  Scratch scratch;
  float* computed = scratch.floats(std::min(some, count) * channels);
  for (int64_t i = 0; i < count; i += some) {
    const int64_t n = std::min(some, count - i);
    x.load(pixel + i, n, channels, computed);
    f(computed, n, to + i * words);
  }
}

}  // namespace

void copy_crop(const Source& x, const Crop& w, float* to) noexcept {
  copy_rows(w, w.channels, 0, to,
            [&](int64_t pixel, int64_t count, float* at) { x.load(pixel, count, w.channels, at); });
}

void copy_crop_pairs(const Source& x, const Crop& w, float* to) noexcept {
  copy_rows(w, pairs(w.channels), 0, to, [&](int64_t pixel, int64_t count, float* at) {
    load_words(x, pixel, count, w.channels, pairs(w.channels), at,
               [&](const float* from, int64_t n, float* words) {
                 bf16_channel_pairs(from, n, w.channels, words);
               });
  });
}

bool copy_crop_quads(const Source& x, const ByteCode& code, const Crop& w, float* to) noexcept {
  Source values = x;
  if (x.shuffle == nullptr) values.quant = nullptr;  // quantized on the way to bytes
  bool inside = true;
  copy_rows(w, quads(w.channels), code.zero(), to, [&](int64_t pixel, int64_t count, float* at) {
    load_words(values, pixel, count, w.channels, quads(w.channels), at,
               [&](const float* from, int64_t n, float* words) {
                 const bool good = x.quant && !values.quant
                                       ? quant_quads(*x.quant, code, from, n, w.channels, words)
                                       : byte_quads(code, from, n, w.channels, words);
                 inside = good && inside;
               });
  });
  return inside;
}

namespace {

/// f(the first channel's first weight) for each tap.
template <class F>
void for_each_tap(const PackSource& from, int64_t taps_h, int64_t taps_w, const Panel& panel,
                  F&& f) {
  for (int64_t r = 0; r < taps_h; ++r) {
    for (int64_t c = 0; c < taps_w; ++c) {
      f(from.base + r * from.tap_h + c * from.tap_w + panel.begin * from.output);
    }
  }
}

/// to[k * width + n] = w[k * channel + n * output] for n < cols, and zeros behind.
void pack_tap(const PackSource& from, const float* w, int64_t channels, int64_t cols, int64_t width,
              float* to) noexcept {
  if (from.channel == 1) {
    transpose(w, from.output, cols, channels, to, width);
  } else {
    constexpr int64_t kSoon = 8;  // rows lie far apart: nobody else fetches them
    for (int64_t k = 0; k < channels; ++k) {
      const float* row = w + k * from.channel;
      for (int64_t n = 0; n < cols; n += Ahead::kLine) {
        __builtin_prefetch(row + kSoon * from.channel + n * from.output);
      }
      gather_strided(row, from.output, to + k * width, cols);
    }
  }
  for (int64_t k = 0; k < channels && cols < width; ++k) {
    std::fill(to + k * width + cols, to + (k + 1) * width, 0.0f);
  }
}

}  // namespace

void pack_panel(const PackSource& from, int64_t taps_h, int64_t taps_w, int64_t channels,
                const Panel& panel, int lanes, float* to) noexcept {
  const int64_t width = panel.vectors * lanes;
  for_each_tap(from, taps_h, taps_w, panel, [&](const float* w) {
    pack_tap(from, w, channels, panel.cols, width, to);
    to += channels * width;
  });
}

void pack_panel_pairs(const PackSource& from, int64_t taps_h, int64_t taps_w, int64_t channels,
                      const Panel& panel, int lanes, float* to) noexcept {
  constexpr int64_t kSome = 32;  // channels whose floats stay in L1; even
  const int64_t width = panel.vectors * lanes;
  Scratch scratch;
  float* rows = scratch.floats(kSome * width);
  for_each_tap(from, taps_h, taps_w, panel, [&](const float* w) {
    for (int64_t first = 0; first < channels; first += kSome) {
      const int64_t some = std::min(kSome, channels - first);
      pack_tap(from, w + first * from.channel, some, panel.cols, width, rows);
      for (int64_t k = 0; k < some; k += 2, to += width) {
        const float* row = rows + k * width;
        bf16_row_pairs(row, k + 1 < some ? row + width : nullptr, width, to);
      }
    }
  });
}

void pack_panel_window_pairs(const PackSource& from, int64_t taps_h, int64_t taps_w,
                             int64_t channels, const Panel& panel, int lanes, float* to) noexcept {
  const int64_t width = panel.vectors * lanes, terms = taps_h * taps_w * channels;
  Scratch scratch;
  float* rows = scratch.floats(terms * width);
  pack_panel(from, taps_h, taps_w, channels, panel, lanes, rows);
  for (int64_t k = 0; k < terms; k += 2, to += width) {
    const float* row = rows + k * width;
    bf16_row_pairs(row, k + 1 < terms ? row + width : nullptr, width, to);
  }
}

bool pack_panel_quads(const PackSource& from, int64_t taps_h, int64_t taps_w, int64_t channels,
                      const Panel& panel, int lanes, const float* inverse, int32_t* sums,
                      float* to) noexcept {
  const int64_t width = panel.vectors * lanes;
  int8_t* bytes = reinterpret_cast<int8_t*>(to);
  std::memset(bytes, 0, static_cast<size_t>(4 * width * taps_h * taps_w * quads(channels)));
  bool inside = true;
  for (int64_t r = 0; r < taps_h; ++r) {
    for (int64_t c = 0; c < taps_w; ++c, bytes += 4 * width * quads(channels)) {
      const float* tap = from.base + r * from.tap_h + c * from.tap_w + panel.begin * from.output;
      for (int64_t n = 0; n < panel.cols; ++n) {
        for (int64_t k = 0; k < channels; ++k) {
          const float j = std::nearbyint(tap[k * from.channel + n * from.output] * inverse[n]);
          inside = inside && j >= -128 && j <= 127;  // NaN is not
          const int8_t byte = static_cast<int8_t>(inside ? j : 0);
          bytes[4 * (k / 4 * width + n) + k % 4] = byte;
          sums[n] += byte;
        }
      }
    }
  }
  return inside;
}

}  // namespace pare::kernels
