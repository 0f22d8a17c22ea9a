// Signs: products of them by table, and how they come about. Part of tile-inl.h.

/// In how many of four signs a table's x, and i, differ: [x][i].
struct Differing {
  alignas(16) uint8_t of[16][16] = {};
  constexpr Differing() {
    for (int x = 0; x < 16; ++x) {
      for (int i = 0; i < 16; ++i) {
        for (int bit = 0; bit < 4; ++bit) {
          of[x][i] = static_cast<uint8_t>(of[x][i] + ((x ^ i) >> bit & 1));
        }
      }
    }
  }
};
constexpr Differing kDiffering;

constexpr int kWides = kWidePanel / (4 * V::kLanes);  // vectors of a wide panel
constexpr int kMostBytes = 31;                        // whose differences a byte can count

/// One instruction counts in four signs of 64 filters: the four signs of the image choose a table,
/// and those of the filters look it up.
template <int R, int P>
struct Table {
  static constexpr int kN = P * kWides;
  typename V::Bits count[R][kN];

  [[gnu::always_inline]] void clear() {
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) {
#pragma GCC unroll 16
      for (int n = 0; n < kN; ++n) count[m][n] = V::none();
    }
  }
  /// x: byte of the first pixel, `pixel` bytes to the next one; w: [panels at `panel`][2][64]
  [[gnu::always_inline]] void eight(const uint8_t* x, int64_t pixel, const uint8_t* w,
                                    int64_t panel) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      typename V::Bits b[kN];
#pragma GCC unroll 16
      for (int n = 0; n < kN; ++n) {
        const uint8_t* from = w + n / kWides * panel + n % kWides * (4 * V::kLanes);
        b[n] = V::load_bytes(from + half * kWidePanel);
      }
#pragma GCC unroll 16
      for (int m = 0; m < R; ++m) {
        const unsigned four = half ? x[m * pixel] >> 4u : x[m * pixel] & 15u;
        const typename V::Bits table = V::table(kDiffering.of[four]);
#pragma GCC unroll 16
        for (int n = 0; n < kN; ++n) {
          count[m][n] = V::add_bytes(count[m][n], V::look_up(table, b[n]));
        }
      }
    }
  }
  /// y[m] = from[m] - 2 count
  [[gnu::always_inline]] void store(int32_t* y, const int32_t* const* from) const {
#pragma GCC unroll 16
    for (int m = 0; m < R; ++m) {
#pragma GCC unroll 16
      for (int n = 0; n < kN; ++n) {
        const int at = n * 4 * V::kLanes;
        V::store_rests(y + m * P * kWidePanel + at, from[m] + at, count[m][n]);
      }
    }
  }
};

template <int R, int P>
void sign_tables(const Tile& t) noexcept {
  const int64_t panel = t.runs * t.run * 2 * kWidePanel;
  const auto* w = reinterpret_cast<const uint8_t*>(t.w);
  auto* raw = static_cast<int32_t*>(t.raw);
  const int32_t* from[R];
  for (int m = 0; m < R; ++m) from[m] = t.base[m];
  Table<R, P> table;
  table.clear();
  int bytes = 0;
  for (int64_t i = 0; i < t.runs; ++i) {
    const uint8_t* x = t.x + t.offsets[i];
    for (int64_t k = 0; k < t.run; ++k, ++x, w += 2 * kWidePanel) {
      if (bytes++ == kMostBytes) {
        table.store(raw, from);
        table.clear();
        for (int m = 0; m < R; ++m) from[m] = raw + m * P * kWidePanel;
        bytes = 1;
      }
      table.eight(x, t.x_pixel, w, panel);
    }
  }
  table.store(raw, from);
}

template <int R>
constexpr void fill_table_row(TileKernel (&row)[kMaxPanels]) {
  row[0] = sign_tables<R, 1>;
  if constexpr (kPanels >= 2) row[1] = sign_tables<R, 2>;
  if constexpr (kPanels >= 3) row[2] = sign_tables<R, 3>;
}

template <int R = 1>
constexpr void fill_tables(TileKernel (&rows)[kMaxSignRows][kMaxPanels]) {
  fill_table_row<R>(rows[R - 1]);
  if constexpr (R < kSignRows) fill_tables<R + 1>(rows);
}

/// 16 signs, the first one lowest.
uint32_t signs_of_16(const FinishBits& f, const int32_t* raw, int64_t at) {
  uint32_t bits = 0;
  for (int lane = 0; lane < kPanel; lane += V::kLanes) {
    bits |= V::at_least(raw + lane, f.threshold + at + lane) << lane;
  }
  return bits ^ f.falls[at / kPanel];
}

uint32_t signs_of_16(const FinishBits& f, const float* raw, int64_t at) {
  float t[kPanel];
  for (int i = 0; i < kPanel; ++i) {
    t[i] = limited(raw[i] * f.scale[at + i] + f.bias[at + i], f.min, f.max);
  }
  uint32_t bits = 0;
  for (int lane = 0; lane < kPanel; lane += V::kLanes) bits |= V::at_least_0(t + lane) << lane;
  return bits;
}

template <class Raw>
void to_bits(const FinishBits& f) noexcept {
  for (int64_t m = 0; m < f.rows; ++m) {
    const Raw* raw = static_cast<const Raw*>(f.raw) + m * f.raw_row;
    uint16_t* y = f.y + m * f.y_row;
    for (int64_t i = 0; i < f.count; i += kPanel) {
      const uint32_t bits = signs_of_16(f, raw + i, i), left = static_cast<uint32_t>(f.count - i);
      y[i / kPanel] = static_cast<uint16_t>(left < kPanel ? bits & ((1u << left) - 1) : bits);
    }
  }
}

void signs_of(const float* x, int64_t n, uint8_t* y) noexcept {
  int64_t i = 0;
  for (; i + kPanel <= n; i += kPanel, y += 2) {
    uint32_t bits = 0;
    for (int lane = 0; lane < kPanel; lane += V::kLanes)
      bits |= V::at_least_0(x + i + lane) << lane;
    y[0] = static_cast<uint8_t>(bits), y[1] = static_cast<uint8_t>(bits >> 8);
  }
  for (; i < n; i += 8, ++y) {
    unsigned bits = 0;
    for (int64_t k = i; k < n && k < i + 8; ++k)
      bits |= static_cast<unsigned>(x[k] >= 0) << (k - i);
    *y = static_cast<uint8_t>(bits);
  }
}
