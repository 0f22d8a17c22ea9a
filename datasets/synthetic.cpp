// Ten figures on a coloured slope, among clutter, under noise. Colour, contrast, place, size and
// angle say nothing about the class, so a linear model on pixels has little to go by; a small
// convolutional net learns it in minutes.

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/parallel.h"
#include "core/rng.h"
#include "datasets/figures.h"
#include "datasets/sources.h"

namespace pare::datasets {

namespace {

constexpr int kSide = 32;
constexpr float kPi = 3.14159265f;
constexpr Point kMiddle{kSide / 2, kSide / 2};
constexpr int64_t kTrainImages = 8000, kTestImages = 2000;

using Color = std::array<float, 3>;
using Canvas = std::array<Color, kSide * kSide>;  // row by row, 0 .. 1

Color random_color(Rng& rng) { return {rng.uniform(), rng.uniform(), rng.uniform()}; }

/// Each channel up to `spread` away.
Color near(const Color& color, float spread, Rng& rng) {
  Color other;
  for (size_t c = 0; c < 3; ++c) {
    other[c] = std::clamp(color[c] + rng.uniform(-spread, spread), 0.0f, 1.0f);
  }
  return other;
}

Point random_point(Rng& rng, float margin) {
  return {rng.uniform(margin, kSide - margin), rng.uniform(margin, kSide - margin)};
}

/// Lays `color` over the pixels within `reach` of `center`, as opaque as opacity(pixel) in [0, 1]
/// says.
template <class Opacity>
void paint(Canvas& canvas, const Color& color, Point center, float reach, Opacity&& opacity) {
  const auto first = [&](float v) { return std::clamp(static_cast<int>(v - reach), 0, kSide); };
  const auto last = [&](float v) { return std::clamp(static_cast<int>(v + reach) + 1, 0, kSide); };
  for (int i = first(center.y); i < last(center.y); ++i) {
    for (int j = first(center.x); j < last(center.x); ++j) {
      const float a = opacity(Point{j + 0.5f, i + 0.5f});
      Color& pixel = canvas[static_cast<size_t>(i * kSide + j)];
      for (size_t c = 0; c < 3; ++c) pixel[c] += a * (color[c] - pixel[c]);
    }
  }
}

/// How much of a pixel lies inside, given its centre's signed distance.
float coverage(float distance) { return std::clamp(0.5f - distance, 0.0f, 1.0f); }

/// A straight blend of two colours with a faint wave on it.
void draw_background(Canvas& canvas, Rng& rng) {
  canvas.fill(random_color(rng));
  const Color other = near(canvas[0], 0.35f, rng);
  const float angle = rng.uniform(0, 2 * kPi), wave = rng.uniform(0, 0.15f);
  const float pitch = rng.uniform(0.3f, 1.0f), phase = rng.uniform(0, 2 * kPi);
  const float nx = std::cos(angle) / kSide, ny = std::sin(angle) / kSide;
  paint(canvas, other, kMiddle, kSide, [&](Point p) {
    const float t = (p.x - kMiddle.x) * nx + (p.y - kMiddle.y) * ny;
    return std::clamp(0.5f + 0.6f * t + wave * std::sin(pitch * (p.x - p.y) + phase), 0.0f, 1.0f);
  });
}

/// Short strokes and specks of any colour.
void draw_clutter(Canvas& canvas, int64_t pieces, float thickest, Rng& rng) {
  for (int64_t i = 0; i < pieces; ++i) {
    const Color color = random_color(rng);
    const Point a = random_point(rng, 0);
    const float angle = rng.uniform(0, 2 * kPi), reach = rng.uniform(0, 9);
    const Point b{a.x + reach * std::cos(angle), a.y + reach * std::sin(angle)};
    const float radius = rng.uniform(0.5f, thickest);
    paint(canvas, color, a, reach + radius + 1,
          [&](Point p) { return coverage(capsule(p, a, b, radius)); });
  }
}

/// A colour that stands out from what is there by `contrast` in brightness, towards the side with
/// more room half of the time, to either side where both have room.
Color contrasting(const Color& there, float contrast, Rng& rng) {
  const float grey = (there[0] + there[1] + there[2]) / 3;
  bool brighter = rng.coin();
  if (grey + contrast > 0.95f) brighter = false;
  if (grey - contrast < 0.05f) brighter = true;
  const float shift = brighter ? contrast : -contrast;
  return near({there[0] + shift, there[1] + shift, there[2] + shift}, 0.15f, rng);
}

void draw_figure(Canvas& canvas, Figure figure, Rng& rng) {
  const float r = rng.uniform(8, 12);
  const Pattern pattern{rng.uniform(4.5f, 7.5f), random_point(rng, 0)};
  const Point at = random_point(rng, 0.9f * r + 2);
  // Rows turned by 90 degrees would be columns: these two, and they alone, stay nearly upright.
  const bool upright = figure == Figure::rows || figure == Figure::columns;
  const float angle = upright ? rng.uniform(-0.35f, 0.35f) : rng.uniform(0, 2 * kPi);
  const float cos = std::cos(angle), sin = std::sin(angle);
  const Color& there = canvas[static_cast<size_t>(at.y) * kSide + static_cast<size_t>(at.x)];
  const Color color = contrasting(there, rng.uniform(0.3f, 0.6f), rng);
  paint(canvas, color, at, 1.2f * r + 1, [&](Point p) {
    const float x = p.x - at.x, y = p.y - at.y;
    return coverage(distance(figure, {cos * x + sin * y, cos * y - sin * x}, r, pattern));
  });
}

/// Bytes of the canvas plus noise: the sum of four uniform bytes is nearly normal, at an eighth of
/// the price.
void quantize(const Canvas& canvas, float stddev, const Rng& rng, uint8_t* pixels) {
  constexpr float kSumMean = 510, kSumDeviation = 147.8f;
  const float scale = 255 * stddev / kSumDeviation;
  for (size_t i = 0; i < 3 * canvas.size(); i += 4) {
    const std::array<uint32_t, 4> block = Rng::block(rng.key(), i / 4);
    for (size_t k = 0; k < 4; ++k) {
      const uint32_t b = block[k];
      const uint32_t sum = (b & 255) + (b >> 8 & 255) + (b >> 16 & 255) + (b >> 24);
      const float noise = (static_cast<float>(sum) - kSumMean) * scale;
      const float v = 255 * canvas[(i + k) / 3][(i + k) % 3] + noise;
      pixels[i + k] = static_cast<uint8_t>(std::clamp(std::nearbyint(v), 0.0f, 255.0f));
    }
  }
}

void draw_image(Figure figure, Rng rng, uint8_t* pixels) {
  Canvas canvas;
  draw_background(canvas, rng);
  draw_clutter(canvas, rng.below(4), 2.0f, rng);
  draw_figure(canvas, figure, rng);
  draw_clutter(canvas, rng.below(3), 1.5f, rng);
  quantize(canvas, rng.uniform(0.01f, 0.06f), rng.split(1), pixels);
}

}  // namespace

PixelSet draw_synthetic(const LoadOptions& options) {
  const bool train = options.split == Split::train;
  const int64_t count = options.limit > 0 ? options.limit : train ? kTrainImages : kTestImages;
  PixelSet set({kSide, kSide, 3}, {kFigureNames.begin(), kFigureNames.end()});
  set.pixels.resize(static_cast<size_t>(count * set.image.numel()));
  for (int64_t i = 0; i < count; ++i) set.labels.push_back(static_cast<int32_t>(i % 10));
  const Rng images(options.seed, train ? 0 : 1);
  parallel_for(count, 16, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      draw_image(static_cast<Figure>(i % 10), images.split(static_cast<uint64_t>(i)),
                 set.pixels.data() + i * set.image.numel());
    }
  });
  return set;
}

}  // namespace pare::datasets
