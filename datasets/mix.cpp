#include "datasets/mix.h"

#include <algorithm>
#include <cmath>

namespace pare::datasets {

namespace {

/// Marsaglia & Tsang 2000, "A simple method for generating gamma variables"; for a < 1 one of
/// a + 1, times a power of a uniform one.
double draw_gamma(double a, Rng& rng) {
  if (a < 1) {
    const double u = 1 - static_cast<double>(rng.uniform());  // (0, 1]
    return draw_gamma(a + 1, rng) * std::pow(u, 1 / a);
  }
  const double d = a - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double z = rng.normal(), v = std::pow(1 + c * z, 3);
    const double u = 1 - static_cast<double>(rng.uniform());
    if (v > 0 && std::log(u) < z * z / 2 + d - d * v + d * std::log(v)) return d * v;
  }
}

struct Pair {
  float *a, *b;  // images i and N - 1 - i
};

template <class F>
void for_pairs(Tensor& x, F&& f) {
  const int64_t n = x.dim(0), size = x.numel() / n;
  float* data = x.data();
  for (int64_t i = 0; i < n / 2; ++i) f(Pair{data + i * size, data + (n - 1 - i) * size});
}

void blend(Tensor& x, float share) {
  const int64_t size = x.numel() / x.dim(0);
  for_pairs(x, [&](Pair p) {
    for (int64_t k = 0; k < size; ++k) {
      const float a = p.a[k], b = p.b[k];
      p.a[k] = share * a + (1 - share) * b;
      p.b[k] = share * b + (1 - share) * a;
    }
  });
}

/// The share of its own image that is left.
float paste(Tensor& x, float share, Rng& rng) {
  const int64_t h = x.dim(1), w = x.dim(2), c = x.dim(3);
  const float side = std::sqrt(1 - share);
  const auto half = [&](int64_t n) {
    return static_cast<int64_t>(side * static_cast<float>(n)) / 2;
  };
  const int64_t cy = rng.below(h), cx = rng.below(w);
  const int64_t top = std::max<int64_t>(0, cy - half(h)), bottom = std::min(h, cy + half(h));
  const int64_t left = std::max<int64_t>(0, cx - half(w)), right = std::min(w, cx + half(w));
  for_pairs(x, [&](Pair p) {
    for (int64_t i = top; i < bottom; ++i) {
      const int64_t from = (i * w + left) * c, to = (i * w + right) * c;
      std::swap_ranges(p.a + from, p.a + to, p.b + from);
    }
  });
  return 1 - static_cast<float>((bottom - top) * (right - left)) / static_cast<float>(h * w);
}

Tensor soft_labels(const Tensor& y, float share, int64_t classes) {
  const int64_t n = y.numel();
  Tensor soft = Tensor::zeros({n, classes});
  const float* label = y.data();
  float* row = soft.data();
  for (int64_t i = 0; i < n; ++i, row += classes) {
    row[static_cast<int64_t>(label[i])] += share;
    row[static_cast<int64_t>(label[n - 1 - i])] += 1 - share;
  }
  return soft;
}

}  // namespace

float draw_beta(float a, Rng& rng) {
  const double x = draw_gamma(a, rng), y = draw_gamma(a, rng);
  return x + y > 0 ? static_cast<float>(x / (x + y)) : 0.5f;  // both underflow for a tiny a
}

void mix(Batch& batch, const Augment& augment, int64_t classes, Rng& rng) {
  const bool cut = augment.cutmix > 0 && (augment.mixup == 0 || rng.coin());
  float share = draw_beta(cut ? augment.cutmix : augment.mixup, rng);
  if (cut) {
    share = paste(batch.x, share, rng);
  } else {
    blend(batch.x, share);
  }
  batch.y = soft_labels(batch.y, share, classes);
}

}  // namespace pare::datasets
