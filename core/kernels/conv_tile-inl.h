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

/// Rows that lie anywhere.
template <int R>
struct TableRows {
  const float* at[R];

  [[gnu::always_inline]] TableRows(const float* base, const int64_t* pixel, int64_t) {
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) at[m] = base + pixel[m];
  }
  [[gnu::always_inline]] const float* operator()(int m, int k) const { return at[m] + k; }
  [[gnu::always_inline]] void advance(int k) {
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) at[m] += k;
  }
};

/// Rows at equal distances: three to a pointer, so that all of them stay in scalar registers.
template <int R>
struct EvenRows {
  static constexpr int kPointers = (R + 2) / 3;
  const float* at[kPointers];
  int64_t step;

  [[gnu::always_inline]] EvenRows(const float* first, int64_t distance) : step(distance) {
#pragma GCC unroll 4
    for (int i = 0; i < kPointers; ++i) at[i] = first + 3 * i * step;
    hide();
  }
  [[gnu::always_inline]] EvenRows(const float* base, const int64_t* pixel, int64_t distance)
      : EvenRows(base + *pixel, distance) {}
  [[gnu::always_inline]] const float* operator()(int m, int k) const {
    return at[m / 3] + m % 3 * step + k;
  }
  [[gnu::always_inline]] void advance(int k) {
#pragma GCC unroll 4
    for (int i = 0; i < kPointers; ++i) at[i] += k;
    hide();
  }

 private:
  /// The compiler is not to know how the pointers depend on each other: GCC 12 would keep one for
  /// each row and step after all, and spill them.
  [[gnu::always_inline]] void hide() {
#pragma GCC unroll 4
    for (int i = 0; i < kPointers; ++i) asm("" : "+r"(at[i]));
    asm("" : "+r"(step));
  }
};

/// A run of k: tile += x(m, k) * w[k], fetching a line of what is ahead every so often.
template <int R, int N, class Rows>
[[gnu::always_inline]] inline void add_run(Tile<R, N>& tile, Rows& x, int64_t run, const float*& w,
                                           const float*& ahead) {
  constexpr int kWidth = N * V::kLanes;
  const auto steps = [&](auto count) __attribute__((always_inline)) {
    constexpr int kCount = decltype(count)::value;
#pragma GCC unroll 8
    for (int k = 0; k < kCount; ++k) {
      tile.add(
          w + k * kWidth, [&](int m) __attribute__((always_inline)) { return x(m, k); });
    }
    x.advance(kCount);
    w += kCount * kWidth;
  };
  int64_t k = run;
  for (; k >= kAheadSteps; k -= kAheadSteps) {
    __builtin_prefetch(ahead, 0, 2);
    ahead += kCacheLine;
    steps(Count<kAheadSteps>{});
  }
  if (k >= kAheadSteps / 2) steps(Count<kAheadSteps / 2>{}), k -= kAheadSteps / 2;
  for (; k > 0; --k) steps(Count<1>{});
}

template <int R, int N, template <int> class Rows>
void gather_tile(const GatherTile& t) noexcept {
  Tile<R, N> tile;
  const Rows<R> out(t.y, t.y_pixel, t.y_step);
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      __builtin_prefetch(out(m, n * V::kLanes), 1);
      tile.acc[m][n] = V::load(t.bias + n * V::kLanes);
    }
  }
  const float *w = t.w, *ahead = t.ahead;
  for (int64_t i = 0; i < t.taps; ++i) {
    Rows<R> x(t.x + t.tap[i], t.x_pixel, t.x_step);
    add_run(tile, x, t.run, w, ahead);
  }
  const int tail =
      static_cast<int>(t.cols) - (N - 1) * V::kLanes;  // floats kept of the last vector
  // Found again: kept from above they would take registers from the loop.
  const Rows<R> to(t.y, t.y_pixel, t.y_step);
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) {
    float* y = const_cast<float*>(to(m, 0));
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
  Gather table[kRows], even[kRows];

  template <int R>
  constexpr void fill() {
    table[R - 1] = gather_tile<R, N, TableRows>;
    even[R - 1] = gather_tile<R, N, EvenRows>;
    if constexpr (R > 1) fill<R - 1>();
  }
  constexpr GatherColumn() : table{}, even{} { fill<kRows>(); }
  void operator()(int rows, const GatherTile& tile) const noexcept {
    (tile.x_step ? even : table)[rows - 1](tile);
  }
};

template <int N>
constexpr GatherColumn<N> kGatherColumn{};

constexpr MaxRows kMaxRows{{V::rows(1), V::rows(2), kVectors == 3 ? V::rows(3) : 0}};

void gather(int rows, int vectors, const GatherTile& tile) noexcept {
  switch (vectors) {
    case 1:
      return kGatherColumn<1>(rows, tile);
    case 2:
      return kGatherColumn<2>(rows, tile);
    default:
      if constexpr (kVectors == 3) return kGatherColumn<kVectors>(rows, tile);
  }
}
