#include "datasets/resize.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace pare::datasets {

namespace {

/// 1 - |x|
double triangle(double x) { return std::max(0.0, 1 - std::abs(x)); }

/// Keys 1981 with a = -1/2, as PIL.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/// Weights of the pixels begin .. begin + taps - 1 for each pixel of one direction.
struct Taps {
  int64_t most = 0;  // weights from one pixel to the next in `weights`
  std::vector<int64_t> begin, count;
  std::vector<float> weights;

  const float* of(int64_t i) const { return weights.data() + i * most; }
};

/// `length` from `from` on, of `size` pixels, become `out`.
Taps taps_of(const ResizeOptions& o, double from, double length, int64_t size, int64_t out) {
  const Filter filter = o.filter;
  const double ratio = length / static_cast<double>(out), stretch = std::max(ratio, 1.0);
  const double reach = (filter == Filter::bicubic ? 2 : 1) * stretch;
  const bool cut = o.reach == Reach::box;
  const int64_t first = cut ? static_cast<int64_t>(from) : 0;
  const int64_t last = cut ? std::min(size, static_cast<int64_t>(std::ceil(from + length))) : size;
  Taps taps;
  taps.most = 2 * static_cast<int64_t>(std::ceil(reach)) + 1;
  taps.weights.resize(static_cast<size_t>(out * taps.most));
  std::vector<double> w(static_cast<size_t>(taps.most));
  for (int64_t i = 0; i < out; ++i) {
    const double center = from + (static_cast<double>(i) + 0.5) * ratio;
    const auto begin = std::max(first, static_cast<int64_t>(std::floor(center - reach + 0.5)));
    const auto end = std::min(last, static_cast<int64_t>(std::floor(center + reach + 0.5)));
    double sum = 0;
    for (int64_t j = begin; j < end; ++j) {
      const double at = (static_cast<double>(j) + 0.5 - center) / stretch;
      const double value = filter == Filter::bicubic ? cubic(at) : triangle(at);
      w[static_cast<size_t>(j - begin)] = value;
      sum += value;
    }
    for (int64_t j = begin; j < end; ++j) {
      taps.weights[static_cast<size_t>(i * taps.most + j - begin)] =
          static_cast<float>(w[static_cast<size_t>(j - begin)] / sum);
    }
    taps.begin.push_back(begin);
    taps.count.push_back(end - begin);
  }
  return taps;
}

uint8_t to_byte(float v) { return static_cast<uint8_t>(std::clamp(v + 0.5f, 0.0f, 255.0f)); }

/// One row: x [.., 3] -> y [out, 3].
void stretch_row(const uint8_t* x, const Taps& taps, int64_t out, uint8_t* y) {
  for (int64_t i = 0; i < out; ++i, y += 3) {
    const uint8_t* p = x + 3 * taps.begin[static_cast<size_t>(i)];
    const float* w = taps.of(i);
    float r = 0, g = 0, b = 0;
    for (int64_t k = taps.count[static_cast<size_t>(i)]; k > 0; --k, p += 3, ++w) {
      r += *w * p[0], g += *w * p[1], b += *w * p[2];
    }
    y[0] = to_byte(r), y[1] = to_byte(g), y[2] = to_byte(b);
  }
}

/// One row of y from rows of x, `n` bytes each.
void blend_rows(const uint8_t* x, int64_t n, const float* w, int64_t taps, float* sum, uint8_t* y) {
  std::fill_n(sum, n, 0.0f);
  for (int64_t k = 0; k < taps; ++k, x += n) {
    for (int64_t j = 0; j < n; ++j) sum[j] += w[k] * x[j];
  }
  for (int64_t j = 0; j < n; ++j) y[j] = to_byte(sum[j]);
}

}  // namespace

Bitmap resize(const Bitmap& x, const Box& box, const ResizeOptions& o) {
  const bool inside = box.y >= 0 && box.x >= 0 && box.y < static_cast<double>(x.height) &&
                      box.x < static_cast<double>(x.width);
  PARE_CHECK(o.height > 0 && o.width > 0 && box.height > 0 && box.width > 0 && inside,
             "resize: got a part ", box.height, "x", box.width, " at ", box.y, ", ", box.x,
             " of an image of ", x.height, "x", x.width, " for ", o.height, "x", o.width);
  const Taps columns = taps_of(o, box.x, box.width, x.width, o.width);
  const Taps rows = taps_of(o, box.y, box.height, x.height, o.height);
  const int64_t first = rows.begin.front(), n = 3 * o.width;
  Bitmap narrow(rows.begin.back() + rows.count.back() - first, o.width);
  for (int64_t i = 0; i < narrow.height; ++i) {
    stretch_row(x.row(first + i), columns, o.width, narrow.row(i));
  }
  Bitmap y(o.height, o.width);
  std::vector<float> sum(static_cast<size_t>(n));
  for (int64_t i = 0; i < o.height; ++i) {
    const auto at = static_cast<size_t>(i);
    blend_rows(narrow.row(rows.begin[at] - first), n, rows.of(i), rows.count[at], sum.data(),
               y.row(i));
  }
  return y;
}

}  // namespace pare::datasets
