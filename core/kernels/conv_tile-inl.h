// The bodies of conv_tile.h, written once over a vector type V. An ISA file defines V, kRows and
// kVectors in its own namespace and then includes this.
//
// Every loop over accumulators carries an unroll pragma: without it GCC 12 may keep the accumulator
// array on the stack and the kernel runs at 40 % of peak instead of 97 %.

template <int kCount>
struct Count {
  static constexpr int value = kCount;
};

/// rows x vectors accumulators; each step costs rows x vectors FMAs, vectors loads and the scalars.
template <int R, int N>
struct Tile {
  typename V::Reg acc[R][N];

  /// acc[m][n] += *s(m) * b[n]
  template <class Scalar>
  [[gnu::always_inline]] void add(const float* b_at, Scalar&& s) {
    typename V::Reg b[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) b[n] = V::load(b_at + n * V::kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) {
      const typename V::Reg broadcast = V::set1(*s(m));
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) acc[m][n] = V::fma(broadcast, b[n], acc[m][n]);
    }
  }
};

constexpr int kCacheLine = 16;  // floats

template <int R, int N>
void gather_tile(const GatherTile& t) noexcept {
  Tile<R, N> tile;
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      __builtin_prefetch(t.y + t.y_pixel[m] + n * V::kLanes, 1);
      tile.acc[m][n] = V::load(t.bias + n * V::kLanes);
    }
  }
  constexpr int kWidth = N * V::kLanes;
  const float *w = t.w, *ahead = t.ahead;
  for (int64_t i = 0; i < t.taps; ++i) {
    const float* x[R];
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) x[m] = t.x + t.x_pixel[m] + t.tap[i];
    const auto steps = [&](auto count) __attribute__((always_inline)) {
      constexpr int kCount = decltype(count)::value;
#pragma GCC unroll 8
      for (int k = 0; k < kCount; ++k) {
        tile.add(
            w + k * kWidth, [&](int m) __attribute__((always_inline)) { return x[m] + k; });
      }
#pragma GCC unroll 16
      for (int m = 0; m < R; ++m) x[m] += kCount;
      w += kCount * kWidth;
    };
    int64_t k = t.run;
    for (; k >= kAheadSteps; k -= kAheadSteps) {
      __builtin_prefetch(ahead, 0, 2);
      ahead += kCacheLine;
      steps(Count<kAheadSteps>{});
    }
    for (; k > 0; --k) steps(Count<1>{});
  }
  const int tail =
      static_cast<int>(t.cols) - (N - 1) * V::kLanes;  // floats kept of the last vector
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) {
    float* y = t.y + t.y_pixel[m];
#pragma GCC unroll 4
    for (int n = 0; n < N - 1; ++n) V::store(y + n * V::kLanes, tile.acc[m][n]);
    V::store_part(y + (N - 1) * V::kLanes, tile.acc[m][N - 1], tail);
  }
}

template <int R, int N>
void outer_tile(const OuterTile& t) noexcept {
  Tile<R, N> tile;
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) {
    // dw is met again in a whole block's time: it has left L1, and the sums below need it.
    const float* dw = t.dw + m * t.dw_row;
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      __builtin_prefetch(dw + n * V::kLanes, 1);
      tile.acc[m][n] = V::set1(0);
    }
  }
  const float* dy = t.dy;
  const float* ahead = t.ahead;
  for (int64_t line = 0; line < t.lines; ++line) {
    const float* x = t.x[line] + t.x_offset;
    const auto step = [&]() __attribute__((always_inline)) {
      tile.add(
          x, [&](int m) __attribute__((always_inline)) { return dy + m; });
      x += t.x_pixel;
      dy += t.dy_pixel;
    };
    int64_t p = t.pixels;
    for (; p >= kAheadPixels; p -= kAheadPixels) {
      __builtin_prefetch(ahead, 0, 2);
      ahead += kCacheLine;
      step(), step(), step(), step();
    }
    for (; p > 0; --p) step();
  }
  const int tail = static_cast<int>(t.cols) - (N - 1) * V::kLanes;
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) {
    float* dw = t.dw + m * t.dw_row;
#pragma GCC unroll 4
    for (int n = 0; n < N - 1; ++n) {
      float* at = dw + n * V::kLanes;
      V::store(at, V::load(at) + tile.acc[m][n]);
    }
    float* at = dw + (N - 1) * V::kLanes;
    V::store_part(at, V::load_part(at, tail) + tile.acc[m][N - 1], tail);
  }
}

template <int N>
void copy_column(const float* const* x, int64_t offset, int64_t x_pixel, int64_t lines,
                 int64_t pixels, float* to) noexcept {
  for (int64_t line = 0; line < lines; ++line) {
    const float* from = x[line] + offset;
    for (int64_t p = 0; p < pixels; ++p, from += x_pixel, to += N * V::kLanes) {
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) V::store(to + n * V::kLanes, V::load(from + n * V::kLanes));
    }
  }
}

template <int R>
void copy_row(const float* dy, int64_t dy_pixel, int64_t pixels, float* to) noexcept {
  for (int64_t p = 0; p < pixels; ++p, dy += dy_pixel, to += R) {
    __builtin_memcpy(to, dy, R * sizeof(float));
  }
}

template <int N>
struct Column {  // tiles of 1 .. kRows rows, N vectors wide
  static constexpr int kRows = V::rows(N);
  using Gather = void (*)(const GatherTile&) noexcept;
  using Outer = void (*)(const OuterTile&) noexcept;
  using Copy = void (*)(const float*, int64_t, int64_t, float*) noexcept;
  Gather gather[kRows];
  Outer outer[kRows];
  Copy copy[kRows];

  template <int R>
  constexpr void fill() {
    gather[R - 1] = gather_tile<R, N>;
    outer[R - 1] = outer_tile<R, N>;
    copy[R - 1] = copy_row<R>;
    if constexpr (R > 1) fill<R - 1>();
  }
  constexpr Column() : gather{}, outer{}, copy{} { fill<kRows>(); }
};

template <int N>
constexpr Column<N> kColumn{};

constexpr MaxRows kMaxRows{{V::rows(1), V::rows(2), kVectors == 3 ? V::rows(3) : 0}};

void gather(int rows, int vectors, const GatherTile& tile) noexcept {
  switch (vectors) {
    case 1:
      return kColumn<1>.gather[rows - 1](tile);
    case 2:
      return kColumn<2>.gather[rows - 1](tile);
    default:
      if constexpr (kVectors == 3) return kColumn<kVectors>.gather[rows - 1](tile);
  }
}

void outer(int rows, int vectors, const OuterTile& tile) noexcept {
  switch (vectors) {
    case 1:
      return kColumn<1>.outer[rows - 1](tile);
    case 2:
      return kColumn<2>.outer[rows - 1](tile);
    default:
      if constexpr (kVectors == 3) return kColumn<kVectors>.outer[rows - 1](tile);
  }
}

void copy_columns(int vectors, const float* const* x, int64_t offset, int64_t x_pixel,
                  int64_t lines, int64_t pixels, float* to) noexcept {
  switch (vectors) {
    case 1:
      return copy_column<1>(x, offset, x_pixel, lines, pixels, to);
    case 2:
      return copy_column<2>(x, offset, x_pixel, lines, pixels, to);
    default:
      return copy_column<kVectors>(x, offset, x_pixel, lines, pixels, to);
  }
}

/// The lowest tiles are the widest: one vector's table has all heights.
void copy_rows(int rows, const float* dy, int64_t dy_pixel, int64_t pixels, float* to) noexcept {
  kColumn<1>.copy[rows - 1](dy, dy_pixel, pixels, to);
}

double spin(int64_t steps) noexcept {
  constexpr int kChains = 12;  // latency x issue rate of the FMA units, and more
  typename V::Reg acc[kChains];
  const typename V::Reg a = V::set1(0.999f), b = V::set1(1e-3f);
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) acc[i] = V::set1(static_cast<float>(i));
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) acc[i] = V::fma(a, b, acc[i]);
  }
  float sink[V::kLanes];
#pragma GCC unroll 16
  for (int i = 1; i < kChains; ++i) acc[0] = V::fma(acc[i], b, acc[0]);
  V::store(sink, acc[0]);
  volatile float keep = sink[0];
  (void)keep;
  return 2.0 * V::kTerms * kChains * V::kLanes * static_cast<double>(steps);
}
