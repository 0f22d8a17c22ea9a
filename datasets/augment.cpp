#include "datasets/augment.h"

#include <algorithm>

namespace pare::datasets {

namespace {

/// `n` pixels to y, y + Step pixels, ...
template <int C, int Step>
void map_pixels(const uint8_t* x, int64_t n, const LookupTable& table, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    for (int c = 0; c < C; ++c) y[c] = table[static_cast<size_t>(c)][x[c]];
    x += C;
    y += Step * C;
  }
}

template <int C>
void fill_pixels(int64_t n, const LookupTable& table, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    for (int c = 0; c < C; ++c) y[i * C + c] = table[static_cast<size_t>(c)][0];
  }
}

template <int C>
void place_rows(const uint8_t* x, int64_t h, int64_t w, const View& view, const LookupTable& table,
                float* y) {
  // Columns [begin, end) of the window lie inside the image.
  const int64_t begin = std::clamp<int64_t>(-view.dx, 0, w);
  const int64_t end = std::clamp<int64_t>(w - view.dx, begin, w);
  for (int64_t i = 0; i < h; ++i, y += w * C) {
    const int64_t row = i + view.dy;
    if (row < 0 || row >= h || begin == end) {
      fill_pixels<C>(w, table, y);
      continue;
    }
    const uint8_t* from = x + (row * w + begin + view.dx) * C;
    if (view.flip) {
      fill_pixels<C>(w - end, table, y);
      map_pixels<C, -1>(from, end - begin, table, y + (w - 1 - begin) * C);
      fill_pixels<C>(begin, table, y + (w - begin) * C);
    } else {
      fill_pixels<C>(begin, table, y);
      map_pixels<C, 1>(from, end - begin, table, y + begin * C);
      fill_pixels<C>(w - end, table, y + end * C);
    }
  }
}

}  // namespace

LookupTable lookup_table(const Normalize& normalize) {
  LookupTable table;
  for (size_t c = 0; c < 3; ++c) {
    for (size_t v = 0; v < 256; ++v) {
      table[c][v] = (static_cast<float>(v) / 255.0f - normalize.mean[c]) / normalize.std[c];
    }
  }
  return table;
}

View random_view(int pad, bool flip, Rng& rng) {
  View view;
  if (pad > 0) {
    view.dy = static_cast<int>(rng.below(2 * pad + 1)) - pad;
    view.dx = static_cast<int>(rng.below(2 * pad + 1)) - pad;
  }
  if (flip) view.flip = rng.coin();
  return view;
}

void place(const uint8_t* x, const Shape& image, const View& view, const LookupTable& table,
           float* y) {
  if (image[2] == 3) {
    place_rows<3>(x, image[0], image[1], view, table, y);
  } else {
    place_rows<1>(x, image[0], image[1], view, table, y);
  }
}

}  // namespace pare::datasets
