// The matrix product of conv_tile.h over the same tiles; included behind conv_tile-inl.h. Rows lie
// side by side, so a tile's addresses are a few pointers and strides: products of a few channels,
// which are over after some dozens of FMAs, cannot afford more. (Winograd's products, % of the
// peak, beside gather_tile: 16 channels 53 and 90, 32 83 and 92, 64 92 and 96.)

template <int R, int N>
void product_tile(const Product& p, const float* from, float* y, const float* ahead) noexcept {
  Tile<R, N> tile;
  constexpr int kWidth = N * V::kLanes;
  if (p.add) {
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) {
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) tile.acc[m][n] = V::load(y + m * kWidth + n * V::kLanes);
    }
  } else {
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) {
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) tile.acc[m][n] = V::set1(0);
    }
  }
  EvenRows<R> x(from, p.x_row);
  const float* w = p.w;
  add_run(tile, x, p.run, w, ahead);
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) V::store(y + m * kWidth + n * V::kLanes, tile.acc[m][n]);
  }
}

template <int N>
struct ProductColumn {  // as GatherColumn
  static constexpr int kRows = V::rows(N);
  using Function = void (*)(const Product&, const float*, float*, const float*) noexcept;
  Function product[kRows];

  template <int R>
  constexpr void fill() {
    product[R - 1] = product_tile<R, N>;
    if constexpr (R > 1) fill<R - 1>();
  }
  constexpr ProductColumn() : product{} { fill<kRows>(); }
};

template <int N>
constexpr ProductColumn<N> kProductColumn{};

/// Tiles of nearly equal height.
template <int N>
void product_tiles(const Product& p) noexcept {
  constexpr int kRows = V::rows(N), kWidth = N * V::kLanes;
  const int64_t tiles = (p.rows + kRows - 1) / kRows, height = p.rows / tiles;
  const int64_t taller = p.rows - tiles * height, lines = p.run / kAheadSteps * kCacheLine;
  const float *x = p.x, *ahead = p.ahead, *end = p.ahead + p.run * kWidth;
  float* y = p.y;
  for (int64_t i = 0; i < tiles; ++i, ahead += lines) {
    const int64_t rows = height + (i < taller);
    kProductColumn<N>.product[rows - 1](p, x, y, ahead < end ? ahead : x);
    x += rows * p.x_row, y += rows * kWidth;
  }
}

/// R rows of K inputs by weights that are in registers.
template <int R, int K>
[[gnu::always_inline]] inline void product_in_registers(const float* x, const typename V::Reg* w,
                                                        float* y) {
  typename V::Reg acc[R];
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) acc[m] = V::set1(0);
#pragma GCC unroll 16
  for (int k = 0; k < K; ++k) {
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) acc[m] = V::fma(V::set1(x[m * K + k]), w[k], acc[m]);
  }
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) V::store(y + m * V::kLanes, acc[m]);
}

/// No more inputs than a vector has lanes, and as many outputs: all weights stay in registers.
template <int K>
void product_by_registers(const Product& p) noexcept {
  typename V::Reg w[K];
#pragma GCC unroll 16
  for (int k = 0; k < K; ++k) w[k] = V::load(p.w + k * V::kLanes);
  constexpr int kRows = V::kLanes / 2;
  const float* x = p.x;
  float* y = p.y;
  int64_t i = 0;
  for (; i + kRows <= p.rows; i += kRows, x += kRows * K, y += kRows * V::kLanes) {
    product_in_registers<kRows, K>(x, w, y);
  }
  for (; i < p.rows; ++i, x += K, y += V::kLanes) product_in_registers<1, K>(x, w, y);
}

void product(const Product& p) noexcept {
  const bool whole = p.x_row == p.run && !p.add;
  switch (p.vectors) {
    case 1:
      if (whole && p.run == V::kLanes) return product_by_registers<V::kLanes>(p);
      if (whole && p.run == V::kLanes / 2) return product_by_registers<V::kLanes / 2>(p);
      return product_tiles<1>(p);
    case 2:
      return product_tiles<2>(p);
    default:
      if constexpr (kVectors == 3) return product_tiles<kVectors>(p);
  }
}
