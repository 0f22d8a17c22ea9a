#pragma once
// The definition of every element-wise, reducing, pooling and moving kernel, in plain loops: what
// the vectorized kernels are tested against, in float where they must be equal and in double where
// they must be close.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/kernels/arithmetic.h"
#include "core/kernels/pointwise.h"
#include "core/kernels/pool.h"
#include "core/rng.h"

namespace pare::ref {

// --- pointwise

template <class T>
T round_by(Rounding rounding, T x) {
  return rounding == Rounding::half_even ? std::nearbyint(x) : std::round(x);
}

template <class T>
T clamp(T x, T lo, T hi) {
  return x < lo ? lo : x > hi ? hi : x;  // NaN stays
}

template <class T>
T normal_cdf(T x) {
  return std::erfc(-x / std::sqrt(T(2))) / 2;
}

template <class T>
T sigmoid(T x) {
  return 1 / (1 + std::exp(-x));
}

template <class T>
T sign(T x) {
  return x >= 0 ? T(1) : x < 0 ? T(-1) : x;
}

template <class T>
T ternary(T x, T threshold) {
  const T c = clamp(x, T(-1), T(1));
  return std::abs(c) > threshold ? sign(c) : std::abs(c) <= threshold ? T(0) : c;
}

template <class T>
T value(const Pointwise& f, T x) {
  using Kind = Pointwise::Kind;
  const T a = f.a, b = f.b, c = f.c;
  switch (f.kind) {
    case Kind::identity:
      return x;
    case Kind::relu:
      return x < 0 ? 0 : x;
    case Kind::leaky_relu:
      return x > 0 ? x : a * x;
    case Kind::relu6:
      return clamp(x, T(0), T(6));
    case Kind::hard_swish:
      return x * clamp(x + 3, T(0), T(6)) / 6;
    case Kind::clamp:
      return clamp(x, a, b);
    case Kind::sign:
      return sign(x);
    case Kind::ternary:
      return ternary(x, a);
    case Kind::quantize:
    case Kind::relu_quantize:
      return round_by(f.rounding, clamp(a * x, T(0), T(1)) * b) / b * c;
    case Kind::silu:
      return x * sigmoid(x);
    case Kind::gelu:
      return x * normal_cdf(x);
    case Kind::sigmoid:
      return sigmoid(x);
    case Kind::tanh:
      return std::tanh(x);
    case Kind::exp:
      return std::exp(x);
    case Kind::log:
      return std::log(x);
    case Kind::sqrt:
      return std::sqrt(x);
    case Kind::abs:
      return std::abs(x);
    case Kind::square:
      return x * x;
    case Kind::round:
      return round_by(f.rounding, x);
  }
  return x;
}

template <class T>
T ste_slope(Ste ste, T x) {
  const T r = std::abs(x);
  switch (ste) {
    case Ste::identity:
      return 1;
    case Ste::clip:
      return r < 1 ? 1 : 0;
    case Ste::triangle:
      return std::max(T(0), 1 - r);
    case Ste::poly:
      return std::max(T(0), 2 - 2 * r);
  }
  return 0;
}

template <class T>
T slope(const Pointwise& f, T x) {
  using Kind = Pointwise::Kind;
  const T a = f.a, b = f.b, c = f.c;
  switch (f.kind) {
    case Kind::identity:
    case Kind::round:
      return 1;
    case Kind::relu:
      return x > 0 ? 1 : 0;
    case Kind::leaky_relu:
      return x > 0 ? 1 : a;
    case Kind::relu6:
      return x > 0 && x < 6 ? 1 : 0;
    case Kind::hard_swish:
      return x <= -3 ? 0 : x >= 3 ? 1 : (2 * x + 3) / 6;
    case Kind::clamp:
      return x >= a && x <= b ? 1 : 0;
    case Kind::sign:
    case Kind::ternary:
      return ste_slope(f.ste, x);
    case Kind::quantize:
      return a * x >= 0 && a * x <= 1 ? a * c : 0;
    case Kind::relu_quantize:
      return x > 0 && a * x <= 1 ? a * c : 0;
    case Kind::silu:
      return sigmoid(x) * (1 + x * (1 - sigmoid(x)));
    case Kind::gelu:
      return normal_cdf(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * T(3.14159265358979323846));
    case Kind::sigmoid:
      return sigmoid(x) * sigmoid(-x);
    case Kind::tanh:
      return 1 / (std::cosh(x) * std::cosh(x));
    case Kind::exp:
      return std::exp(x);
    case Kind::log:
      return 1 / x;
    case Kind::sqrt:
      return T(0.5) / std::sqrt(x);
    case Kind::abs:
      return x > 0 ? 1 : x < 0 ? -1 : 0;
    case Kind::square:
      return 2 * x;
  }
  return 0;
}

// --- arithmetic

template <class T>
T arithmetic(kernels::Arithmetic op, T a, T b) {
  switch (op) {
    case kernels::Arithmetic::add:
      return a + b;
    case kernels::Arithmetic::sub:
      return a - b;
    case kernels::Arithmetic::mul:
      return a * b;
    case kernels::Arithmetic::div:
      return a / b;
  }
  return a;
}

// --- reductions

/// sum (x - center)^power over `count` elements that lie `stride` apart
inline double sum_power(const float* x, double center, int power, int64_t count, int64_t stride) {
  double total = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double delta = x[i * stride] - center;
    total += power == 1 ? delta : delta * delta;
  }
  return total;
}

/// The index of the first maximum; NaN is above everything.
inline int64_t argmax(const float* x, int64_t count, int64_t stride) {
  int64_t best = 0;
  for (int64_t i = 1; i < count; ++i) {
    const float v = x[i * stride], top = x[best * stride];
    if (!std::isnan(top) && (v > top || std::isnan(v))) best = i;
  }
  return best;
}

// --- softmax and cross entropy of one row

inline std::vector<double> log_softmax(std::span<const float> x) {
  const double top = *std::max_element(x.begin(), x.end());
  double total = 0;
  for (float v : x) total += std::exp(v - top);
  std::vector<double> y;
  for (float v : x) y.push_back(v - top - std::log(total));
  return y;
}

struct Loss {
  double value = 0;
  std::vector<double> slope;
};

/// `t` are probabilities, smoothed here.
inline Loss cross_entropy(std::span<const float> z, std::span<const double> t, double smoothing) {
  const std::vector<double> log_p = log_softmax(z);
  const double n = static_cast<double>(z.size());
  Loss loss;
  double mass = 0;
  for (size_t i = 0; i < z.size(); ++i) mass += (1 - smoothing) * t[i] + smoothing / n;
  for (size_t i = 0; i < z.size(); ++i) {
    const double target = (1 - smoothing) * t[i] + smoothing / n;
    loss.value -= target * log_p[i];
    loss.slope.push_back(std::exp(log_p[i]) * mass - target);
  }
  return loss;
}

// --- pooling of one image [H, W, C] by the definition of a window

/// f(output row, output column, input row, input column, tap) for every position inside the image.
template <class F>
void for_each_tap(const kernels::PoolGeometry& g, F&& f) {
  for (int64_t oy = 0; oy < g.h.out; ++oy)
    for (int64_t ox = 0; ox < g.w.out; ++ox)
      for (int64_t ky = 0; ky < g.h.kernel; ++ky)
        for (int64_t kx = 0; kx < g.w.kernel; ++kx) {
          const int64_t iy = oy * g.h.stride + ky - g.h.pad, ix = ox * g.w.stride + kx - g.w.pad;
          if (iy < 0 || iy >= g.h.in || ix < 0 || ix >= g.w.in) continue;
          f(oy, ox, iy, ix, ky * g.w.kernel + kx);
        }
}

struct MaxPool {
  std::vector<float> y;        // [OH, OW, C]
  std::vector<int64_t> tap;    // [OH, OW, C]
  std::vector<int64_t> input;  // [OH, OW, C] where in x the maximum is
};

inline MaxPool max_pool(const float* x, const kernels::PoolGeometry& g) {
  const size_t size = static_cast<size_t>(g.h.out * g.w.out * g.channels);
  MaxPool pool{std::vector<float>(size), std::vector<int64_t>(size, -1),
               std::vector<int64_t>(size)};
  for_each_tap(g, [&](int64_t oy, int64_t ox, int64_t iy, int64_t ix, int64_t tap) {
    for (int64_t c = 0; c < g.channels; ++c) {
      const size_t o = static_cast<size_t>((oy * g.w.out + ox) * g.channels + c);
      const int64_t i = (iy * g.w.in + ix) * g.channels + c;
      const bool better = x[i] > pool.y[o] || std::isnan(x[i]);
      if (pool.tap[o] >= 0 && (std::isnan(pool.y[o]) || !better)) continue;
      pool.y[o] = x[i];
      pool.tap[o] = tap;
      pool.input[o] = i;
    }
  });
  return pool;
}

/// Positions that a mean counts: all of the window that lies in the image or, on request, in its
/// padding.
inline double counted(const kernels::PoolAxis& axis, int64_t o, bool include_pad) {
  int64_t count = 0;
  for (int64_t k = 0; k < axis.kernel; ++k) {
    const int64_t i = o * axis.stride + k - axis.pad;
    const int64_t border = include_pad ? axis.pad : 0;
    if (i >= -border && i < axis.in + border) ++count;
  }
  return static_cast<double>(count);
}

// --- random numbers

inline std::vector<uint32_t> philox(uint64_t key, uint64_t counter, int64_t n) {
  Rng rng;
  rng.set_state({key, counter});
  std::vector<uint32_t> numbers;
  for (int64_t i = 0; i < n; ++i) numbers.push_back(rng.next());
  return numbers;
}

}  // namespace pare::ref
