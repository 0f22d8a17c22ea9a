// Sums of signs where one instruction counts bits: a tile of sums stays in registers, as in tile<>.
// Without it, carrying bits from word to word is cheaper (Counter in tile-inl.h).

template <bool kMasked, int R, int P>
void counted_tile(const Tile& t) noexcept {
  constexpr int N = P * kHalves;
  typename V::Bits differing[R][N];
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) differing[m][n] = V::none();
  }
  const int64_t panel = t.runs * t.run * kPanel;
  const uint32_t *w = t.w, *mask = t.mask;
  for (int64_t i = 0; i < t.runs; ++i) {
    const uint8_t* x = t.x + t.offsets[i];
    for (int64_t k = 0; k < t.run; ++k, x += 4, w += kPanel) {
      typename V::Bits b[N], present[N];
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) {
        const int64_t at = (n / kHalves) * panel + (n % kHalves) * V::kLanes;
        b[n] = V::load(w + at);
        if constexpr (kMasked) present[n] = V::load(mask + at);
      }
#pragma GCC unroll 16
      for (int m = 0; m < R; ++m) {
        const uint32_t a = word_at(x + m * t.x_pixel);
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n) {
          if constexpr (kMasked) {
            differing[m][n] = V::count(differing[m][n], V::differ(&a, b[n], present[n]), 1);
          } else {
            differing[m][n] = V::count(differing[m][n], V::differ(&a, b[n]), 1);
          }
          // Now, not together with all other rows': there are no registers for what they differ by.
          asm volatile("" : "+v"(differing[m][n]) : : "memory");
        }
      }
      if constexpr (kMasked) mask += kPanel;
    }
  }
  auto* raw = static_cast<int32_t*>(t.raw);
#pragma GCC unroll 16
  for (int m = 0; m < R; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) {
      V::store_rest(raw + (m * N + n) * V::kLanes, t.base[m] + n * V::kLanes, differing[m][n]);
    }
  }
}

template <bool kMasked, int P>
void counted_rows(const Tile& t, int64_t rows) noexcept {
  static constexpr TileKernel kTiles[] = {counted_tile<kMasked, 1, P>, counted_tile<kMasked, 2, P>,
                                          counted_tile<kMasked, 3, P>, counted_tile<kMasked, 4, P>,
                                          counted_tile<kMasked, 5, P>, counted_tile<kMasked, 6, P>,
                                          counted_tile<kMasked, 7, P>, counted_tile<kMasked, 8, P>};
  static_assert(sizeof kTiles / sizeof *kTiles == kSignRows);
  kTiles[rows - 1](t);
}

template <bool kMasked>
void counted(const Tile& t, int64_t rows, int64_t panels) noexcept {
  static_assert(kPanels == 3);
  if (panels == 1) return counted_rows<kMasked, 1>(t, rows);
  if (panels == 2) return counted_rows<kMasked, 2>(t, rows);
  counted_rows<kMasked, 3>(t, rows);
}

void counted_signs(const Tile& t, int64_t rows, int64_t panels) noexcept {
  if (t.mask) return counted<true>(t, rows, panels);
  counted<false>(t, rows, panels);
}
