#include "datasets/augment.h"

#include <algorithm>

namespace pare::datasets {

namespace {

/// Bytes as they are, in place of a table.
struct Same {
  uint8_t operator()(int, uint8_t v) const { return v; }
};
struct LookUp {
  const LookupTable& table;
  float operator()(int c, uint8_t v) const { return table[static_cast<size_t>(c)][v]; }
};

/// `n` pixels to y, y + Step pixels, ...
template <int C, int Step, class F, class T>
void map_pixels(const uint8_t* x, int64_t n, const F& f, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    for (int c = 0; c < C; ++c) y[c] = f(c, x[c]);
    x += C;
    y += Step * C;
  }
}

template <int C, class F, class T>
void fill_pixels(int64_t n, const F& f, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    for (int c = 0; c < C; ++c) y[i * C + c] = f(c, 0);
  }
}

template <int C, class F, class T>
void place_rows(const uint8_t* x, int64_t h, int64_t w, const View& view, const F& f, T* y) {
  // Columns [begin, end) of the window lie inside the image.
  const int64_t begin = std::clamp<int64_t>(-view.dx, 0, w);
  const int64_t end = std::clamp<int64_t>(w - view.dx, begin, w);
  for (int64_t i = 0; i < h; ++i, y += w * C) {
    const int64_t row = i + view.dy;
    if (row < 0 || row >= h || begin == end) {
      fill_pixels<C>(w, f, y);
      continue;
    }
    const uint8_t* from = x + (row * w + begin + view.dx) * C;
    if (view.flip) {
      fill_pixels<C>(w - end, f, y);
      map_pixels<C, -1>(from, end - begin, f, y + (w - 1 - begin) * C);
      fill_pixels<C>(begin, f, y + (w - begin) * C);
    } else {
      fill_pixels<C>(begin, f, y);
      map_pixels<C, 1>(from, end - begin, f, y + begin * C);
      fill_pixels<C>(w - end, f, y + end * C);
    }
  }
}

template <class F, class T>
void place_any(const uint8_t* x, const Shape& image, const View& view, const F& f, T* y) {
  if (image[2] == 3) {
    place_rows<3>(x, image[0], image[1], view, f, y);
  } else {
    place_rows<1>(x, image[0], image[1], view, f, y);
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

void look_up(const uint8_t* x, const Shape& image, const LookupTable& table, float* y) {
  place(x, image, {}, table, y);
}

void place(const uint8_t* x, const Shape& image, const View& view, const LookupTable& table,
           float* y) {
  place_any(x, image, view, LookUp{table}, y);
}

void place(const uint8_t* x, const Shape& image, const View& view, uint8_t* y) {
  place_any(x, image, view, Same{}, y);
}

}  // namespace pare::datasets
