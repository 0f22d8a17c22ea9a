// The outer tiles and copies of conv_tile.h, likewise; included behind conv_tile-inl.h.

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
  if (!t.add) {
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) {
      float* dw = t.dw + m * t.dw_row;
#pragma GCC unroll 4
      for (int n = 0; n < N - 1; ++n) V::store(dw + n * V::kLanes, tile.acc[m][n]);
      V::store_part(dw + (N - 1) * V::kLanes, tile.acc[m][N - 1], tail);
    }
    return;
  }
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
struct OuterColumn {  // as GatherColumn
  static constexpr int kRows = V::rows(N);
  using Outer = void (*)(const OuterTile&) noexcept;
  using Copy = void (*)(const float*, int64_t, int64_t, float*) noexcept;
  Outer outer[kRows];
  Copy copy[kRows];

  template <int R>
  constexpr void fill() {
    outer[R - 1] = outer_tile<R, N>;
    copy[R - 1] = copy_row<R>;
    if constexpr (R > 1) fill<R - 1>();
  }
  constexpr OuterColumn() : outer{}, copy{} { fill<kRows>(); }
};

template <int N>
constexpr OuterColumn<N> kOuterColumn{};

void outer(int rows, int vectors, const OuterTile& tile) noexcept {
  switch (vectors) {
    case 1:
      return kOuterColumn<1>.outer[rows - 1](tile);
    case 2:
      return kOuterColumn<2>.outer[rows - 1](tile);
    default:
      if constexpr (kVectors == 3) return kOuterColumn<kVectors>.outer[rows - 1](tile);
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
  kOuterColumn<1>.copy[rows - 1](dy, dy_pixel, pixels, to);
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
