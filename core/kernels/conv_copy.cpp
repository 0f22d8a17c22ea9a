// What gather_band and its callers copy: rectangles of the input and panels of weights, as floats
// or as words of smaller numbers.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/kernels/bf16.h"
#include "core/kernels/conv.h"
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

/// The values of some pixels: where they lie, or computed into scratch.
const float* loaded(const Source& x, int64_t pixel, int64_t count, int64_t channels,
                    Scratch& scratch) {
  if (x.stored()) return x.x + pixel * channels;
  float* computed = scratch.floats(count * channels);
  x.load(pixel, count, channels, computed);
  return computed;
}

}  // namespace

void copy_crop(const Source& x, const Crop& w, float* to) noexcept {
  copy_rows(w, w.channels, 0, to,
            [&](int64_t pixel, int64_t count, float* at) { x.load(pixel, count, w.channels, at); });
}

void copy_crop_pairs(const Source& x, const Crop& w, float* to) noexcept {
  copy_rows(w, pairs(w.channels), 0, to, [&](int64_t pixel, int64_t count, float* at) {
    Scratch scratch;
    bf16_channel_pairs(loaded(x, pixel, count, w.channels, scratch), count, w.channels, at);
  });
}

bool copy_crop_quads(const Source& x, const ByteCode& code, const Crop& w, float* to) noexcept {
  Source values = x;
  if (x.shuffle == nullptr) values.quant = nullptr;  // quantized on the way to bytes
  bool inside = true;
  copy_rows(w, quads(w.channels), code.zero(), to, [&](int64_t pixel, int64_t count, float* at) {
    Scratch scratch;
    const float* from = loaded(values, pixel, count, w.channels, scratch);
    const bool good = x.quant && !values.quant
                          ? quant_quads(*x.quant, code, from, count, w.channels, at)
                          : byte_quads(code, from, count, w.channels, at);
    inside = good && inside;
  });
  return inside;
}

namespace {

/// A panel of words that hold `step` channels each: word(where the first one's weight lies, how
/// many of them there are).
template <class Word>
void pack_words(const PackSource& from, int64_t taps_h, int64_t taps_w, int64_t channels,
                const Panel& panel, int lanes, int64_t step, float* to, Word&& word) {
  const int64_t width = panel.vectors * lanes;
  for (int64_t r = 0; r < taps_h; ++r) {
    for (int64_t c = 0; c < taps_w; ++c) {
      const float* tap = from.base + r * from.tap_h + c * from.tap_w + panel.begin * from.output;
      for (int64_t k = 0; k < channels; k += step, to += width) {
        const float* row = tap + k * from.channel;
        const int64_t there = std::min(step, channels - k);
        for (int64_t n = 0; n < panel.cols; ++n) to[n] = word(row + n * from.output, there);
        for (int64_t n = panel.cols; n < width; ++n) to[n] = 0.0f;
      }
    }
  }
}

}  // namespace

void pack_panel(const PackSource& from, int64_t taps_h, int64_t taps_w, int64_t channels,
                const Panel& panel, int lanes, float* to) noexcept {
  pack_words(from, taps_h, taps_w, channels, panel, lanes, 1, to,
             [](const float* w, int64_t) { return *w; });
}

void pack_panel_pairs(const PackSource& from, int64_t taps_h, int64_t taps_w, int64_t channels,
                      const Panel& panel, int lanes, float* to) noexcept {
  pack_words(from, taps_h, taps_w, channels, panel, lanes, 2, to,
             [next = from.channel](const float* w, int64_t there) {
               return bf16_pair(*w, there > 1 ? w[next] : 0.0f);
             });
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
