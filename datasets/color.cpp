#include "datasets/color.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace pare::datasets {

namespace {

constexpr float kPi = 3.14159265f;

uint8_t to_byte(float v) { return static_cast<uint8_t>(std::clamp(v, 0.0f, 255.0f)); }

/// ITU-R 601 luma, rounded, as PIL's convert("L").
int grey(const uint8_t* p) { return (19595 * p[0] + 38470 * p[1] + 7471 * p[2] + 0x8000) >> 16; }

using ByteTable = std::array<uint8_t, 256>;

template <class F>
ByteTable table_of(F&& f) {
  ByteTable table;
  for (int v = 0; v < 256; ++v) table[static_cast<size_t>(v)] = f(v);
  return table;
}

void map_values(Bitmap& x, const ByteTable& table) {
  for (uint8_t& v : x.pixels) v = table[v];
}

using Histogram = std::array<int64_t, 256>;

Histogram histogram(const Bitmap& x, size_t channel) {
  Histogram h{};
  for (size_t i = channel; i < x.pixels.size(); i += 3) ++h[x.pixels[i]];
  return h;
}

/// Each channel by its own table, made from its histogram.
template <class F>
void map_channels(Bitmap& x, F&& table_from) {
  for (size_t c = 0; c < 3; ++c) {
    const ByteTable table = table_from(histogram(x, c));
    for (size_t i = c; i < x.pixels.size(); i += 3) x.pixels[i] = table[x.pixels[i]];
  }
}

ByteTable stretched(const Histogram& h) {
  const auto low = std::find_if(h.begin(), h.end(), [](int64_t n) { return n > 0; }) - h.begin();
  const auto high =
      255 - (std::find_if(h.rbegin(), h.rend(), [](int64_t n) { return n > 0; }) - h.rbegin());
  if (high <= low) return table_of([](int v) { return static_cast<uint8_t>(v); });
  const double scale = 255.0 / static_cast<double>(high - low);
  return table_of([&](int v) {
    const double y = static_cast<double>(v) * scale - static_cast<double>(low) * scale;
    return static_cast<uint8_t>(std::clamp(y, 0.0, 255.0));
  });
}

/// v -> (values below v + step / 2) / step, with 255 steps between all but the highest values.
ByteTable flattened(const Histogram& h) {
  int64_t total = 0, last = 0;
  for (int64_t n : h) {
    total += n;
    if (n > 0) last = n;
  }
  const int64_t step = (total - last) / 255;
  if (step == 0) return table_of([](int v) { return static_cast<uint8_t>(v); });
  int64_t below = step / 2;
  return table_of([&](int v) {
    const int64_t y = below / step;
    below += h[static_cast<size_t>(v)];
    return static_cast<uint8_t>(std::min<int64_t>(y, 255));
  });
}

/// 1 - reach .. 1 + reach, or 1 +- reach by a coin.
float factor(float reach, Rng& rng) { return 1 + rng.uniform(-reach, reach); }

/// The operations of torchvision's RandAugment but sharpness, with its ranges at magnitude m of 30.
void random_op(Bitmap& x, float m, Rng& rng) {
  constexpr int64_t kOps = 13;
  const int64_t op = rng.below(kOps);
  const float sign = rng.coin() ? 1.0f : -1.0f;
  const float enhance = 1 + sign * 0.9f * m, shear = sign * 0.3f * m, angle = sign * kPi / 6 * m;
  const auto move = [&](int64_t side) {
    return sign * std::floor(150.0f / 331.0f * static_cast<float>(side) * m);
  };
  switch (op) {
    case 0:
      return;
    case 1:
      return warp(x, {.b = 0, .c = shear});
    case 2:
      return warp(x, {.b = shear});
    case 3:
      return warp(x, {.dx = move(x.width)});
    case 4:
      return warp(x, {.dy = move(x.height)});
    case 5:
      return warp(x, {.a = std::cos(angle),
                      .b = -std::sin(angle),
                      .c = std::sin(angle),
                      .d = std::cos(angle)});
    case 6:
      return adjust_brightness(x, enhance);
    case 7:
      return adjust_color(x, enhance);
    case 8:
      return adjust_contrast(x, enhance);
    case 9:
      return posterize(x, 8 - static_cast<int>(std::nearbyint(4 * m)));
    case 10:
      return solarize(x, static_cast<int>(255 * (1 - m)));
    case 11:
      return autocontrast(x);
    default:
      return equalize(x);
  }
}

}  // namespace

bool changes_colors(const Augment& augment) { return augment.rand_ops > 0 || augment.jitter > 0; }

void change_colors(Bitmap& x, const Augment& augment, Rng& rng) {
  const float m = static_cast<float>(augment.rand_magnitude) / 30;
  for (int i = 0; i < augment.rand_ops; ++i) random_op(x, m, rng);
  if (augment.jitter == 0) return;
  std::array<int, 3> order = {0, 1, 2};
  rng.shuffle(order);
  for (int step : order) {
    const float f = factor(augment.jitter, rng);
    if (step == 0) adjust_brightness(x, f);
    if (step == 1) adjust_contrast(x, f);
    if (step == 2) adjust_color(x, f);
  }
}

void adjust_brightness(Bitmap& x, float f) {
  map_values(x, table_of([f](int v) { return to_byte(f * static_cast<float>(v)); }));
}

void adjust_contrast(Bitmap& x, float f) {
  int64_t sum = 0;
  for (size_t i = 0; i < x.pixels.size(); i += 3) sum += grey(&x.pixels[i]);
  const auto n = static_cast<double>(x.height * x.width);
  const float mean = std::floor(static_cast<float>(static_cast<double>(sum) / n + 0.5));
  map_values(x,
             table_of([&](int v) { return to_byte(mean + f * (static_cast<float>(v) - mean)); }));
}

void adjust_color(Bitmap& x, float f) {
  for (size_t i = 0; i < x.pixels.size(); i += 3) {
    uint8_t* p = &x.pixels[i];
    const auto g = static_cast<float>(grey(p));
    for (int c = 0; c < 3; ++c) p[c] = to_byte(g + f * (static_cast<float>(p[c]) - g));
  }
}

void autocontrast(Bitmap& x) { map_channels(x, stretched); }

void equalize(Bitmap& x) { map_channels(x, flattened); }

void posterize(Bitmap& x, int bits) {
  const int mask = 0xFF << (8 - bits) & 0xFF;
  map_values(x, table_of([mask](int v) { return static_cast<uint8_t>(v & mask); }));
}

void solarize(Bitmap& x, int threshold) {
  map_values(x, table_of([&](int v) { return static_cast<uint8_t>(v < threshold ? v : 255 - v); }));
}

void warp(Bitmap& x, const Affine& f) {
  constexpr uint8_t kGrey = 128;
  const Bitmap from = x;
  const float cy = 0.5f * static_cast<float>(x.height), cx = 0.5f * static_cast<float>(x.width);
  for (int64_t i = 0; i < x.height; ++i) {
    uint8_t* to = x.row(i);
    for (int64_t j = 0; j < x.width; ++j, to += 3) {
      const float v = static_cast<float>(i) + 0.5f - cy, u = static_cast<float>(j) + 0.5f - cx;
      const auto y = static_cast<int64_t>(std::floor(f.a * v + f.b * u + cy - f.dy));
      const auto at = static_cast<int64_t>(std::floor(f.c * v + f.d * u + cx - f.dx));
      if (y >= 0 && y < x.height && at >= 0 && at < x.width) {
        std::copy_n(from.row(y) + 3 * at, 3, to);
      } else {
        std::fill_n(to, 3, kGrey);
      }
    }
  }
}

}  // namespace pare::datasets
