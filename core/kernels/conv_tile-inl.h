// The gather tiles of conv_tile.h, written once over a vector type V. An ISA file defines V and
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
    for (int n = 0; n < N - 1; ++n) {
      V::store(y + n * V::kLanes, V::value(tile.acc[m][n], t, n));
    }
    V::store_part(y + (N - 1) * V::kLanes, V::value(tile.acc[m][N - 1], t, N - 1), tail);
  }
}

template <int N>
struct GatherColumn {  // tiles of 1 .. kRows rows, N vectors wide
  static constexpr int kRows = V::rows(N);
  using Gather = void (*)(const GatherTile&) noexcept;
  Gather gather[kRows];

  template <int R>
  constexpr void fill() {
    gather[R - 1] = gather_tile<R, N>;
    if constexpr (R > 1) fill<R - 1>();
  }
  constexpr GatherColumn() : gather{} { fill<kRows>(); }
};

template <int N>
constexpr GatherColumn<N> kGatherColumn{};

constexpr MaxRows kMaxRows{{V::rows(1), V::rows(2), kVectors == 3 ? V::rows(3) : 0}};

void gather(int rows, int vectors, const GatherTile& tile) noexcept {
  switch (vectors) {
    case 1:
      return kGatherColumn<1>.gather[rows - 1](tile);
    case 2:
      return kGatherColumn<2>.gather[rows - 1](tile);
    default:
      if constexpr (kVectors == 3) return kGatherColumn<kVectors>.gather[rows - 1](tile);
  }
}
