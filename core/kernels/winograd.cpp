// The transforms of winograd.h, a vector of channels at a time.
#include "core/kernels/winograd.h"

#include <cstring>

#include "core/kernels/highway.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/winograd.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/bf16-inl.h"
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using Vf = hn::Vec<D>;
using Halves = hn::Rebind<uint16_t, D>;

HWY_INLINE Vf Times(float factor, Vf x) { return hn::Mul(hn::Set(D(), factor), x); }
HWY_INLINE Vf Plus(float factor, Vf x, Vf y) { return hn::MulAdd(hn::Set(D(), factor), x, y); }

/// The points of alpha 6 beside 0 and infinity are these two and their opposites. They and their
/// squares are exact, and transformed numbers stay small: rounding leaves less than half of what it
/// leaves with 1 and 2, which matters where products are of bfloat16 numbers (Barabasz et al. 2020,
/// arXiv:1803.10986, on the choice of points).
constexpr float kNear = 0.625f, kFar = 1.5f, kNear2 = kNear * kNear, kFar2 = kFar * kFar;

// t = B^T d
HWY_INLINE void InputLine(const Vf (&d)[4], Vf (&t)[4]) {
  t[0] = hn::Sub(d[0], d[2]);
  t[1] = hn::Add(d[1], d[2]);
  t[2] = hn::Sub(d[2], d[1]);
  t[3] = hn::Sub(d[1], d[3]);
}
// Each row's polynomial vanishes at all points but its own; with a = kNear, b = kFar, A = a^2,
// B = b^2:
//     AB     0  -A-B    0   1   0
//      0   -aB    -B    a   1   0     and for -a
//      0   -bA    -A    b   1   0     and for -b
//      0    AB     0 -A-B   0   1
HWY_INLINE void InputLine(const Vf (&d)[6], Vf (&t)[6]) {
  constexpr float kBoth = kNear2 + kFar2, kProduct = kNear2 * kFar2;
  const Vf near_even = Plus(-kFar2, d[2], d[4]), near_odd = Plus(-kFar2, d[1], d[3]);
  const Vf far_even = Plus(-kNear2, d[2], d[4]), far_odd = Plus(-kNear2, d[1], d[3]);
  t[0] = Plus(kProduct, d[0], Plus(-kBoth, d[2], d[4]));
  t[1] = Plus(kNear, near_odd, near_even);
  t[2] = Plus(-kNear, near_odd, near_even);
  t[3] = Plus(kFar, far_odd, far_even);
  t[4] = Plus(-kFar, far_odd, far_even);
  t[5] = Plus(kProduct, d[1], Plus(-kBoth, d[3], d[5]));
}

// y = A^T m,  A^T[j][i] = point_i^j, infinity in the last row
HWY_INLINE void OutputLine(const Vf (&m)[4], Vf (&y)[2]) {
  y[0] = hn::Add(m[0], hn::Add(m[1], m[2]));
  y[1] = hn::Sub(hn::Sub(m[1], m[2]), m[3]);
}
HWY_INLINE void OutputLine(const Vf (&m)[6], Vf (&y)[2]) {
  y[0] = hn::Add(m[0], hn::Add(hn::Add(m[1], m[2]), hn::Add(m[3], m[4])));
  y[1] = Plus(kFar, hn::Sub(m[3], m[4]), Plus(kNear, hn::Sub(m[1], m[2]), m[5]));
}
HWY_INLINE void OutputLine(const Vf (&m)[6], Vf (&y)[4]) {
  const Vf near = hn::Add(m[1], m[2]), near_odd = hn::Sub(m[1], m[2]);
  const Vf far = hn::Add(m[3], m[4]), far_odd = hn::Sub(m[3], m[4]);
  y[0] = hn::Add(m[0], hn::Add(near, far));
  y[1] = Plus(kFar, far_odd, Times(kNear, near_odd));
  y[2] = Plus(kFar2, far, Times(kNear2, near));
  y[3] = Plus(kFar2 * kFar, far_odd, Plus(kNear2 * kNear, near_odd, m[5]));
}

// z = A d
HWY_INLINE void OutputGradLine(const Vf (&d)[2], Vf (&z)[4]) {
  z[0] = d[0];
  z[1] = hn::Add(d[0], d[1]);
  z[2] = hn::Sub(d[0], d[1]);
  z[3] = hn::Neg(d[1]);
}
HWY_INLINE void OutputGradLine(const Vf (&d)[2], Vf (&z)[6]) {
  z[0] = d[0];
  z[1] = Plus(kNear, d[1], d[0]);
  z[2] = Plus(-kNear, d[1], d[0]);
  z[3] = Plus(kFar, d[1], d[0]);
  z[4] = Plus(-kFar, d[1], d[0]);
  z[5] = d[1];
}
HWY_INLINE void OutputGradLine(const Vf (&d)[4], Vf (&z)[6]) {
  const Vf near_even = Plus(kNear2, d[2], d[0]), near_odd = Plus(kNear2, d[3], d[1]);
  const Vf far_even = Plus(kFar2, d[2], d[0]), far_odd = Plus(kFar2, d[3], d[1]);
  z[0] = d[0];
  z[1] = Plus(kNear, near_odd, near_even);
  z[2] = Plus(-kNear, near_odd, near_even);
  z[3] = Plus(kFar, far_odd, far_even);
  z[4] = Plus(-kFar, far_odd, far_even);
  z[5] = d[3];
}

// G[i][k] = point_i^k / norm_i, infinity in the last row; norm_i is the product of point_i's
// distances from the others
template <int A>
struct Points;
template <>
struct Points<4> {
  static constexpr float point[3] = {0, 1, -1}, norm[3] = {1, 2, 2};
};
template <>
struct Points<6> {
  static constexpr float kGap = 2 * (kFar2 - kNear2);
  static constexpr float point[5] = {0, kNear, -kNear, kFar, -kFar};
  static constexpr float norm[5] = {kNear2 * kFar2, -kNear2* kGap, -kNear2* kGap, kFar2* kGap,
                                    kFar2* kGap};
};

/// point_i^k / norm_i, which is even in the point for even k and odd for odd k
template <int A>
constexpr float Power(int i, int k) {
  float product = 1 / Points<A>::norm[i];
  for (; k > 0; --k) product *= Points<A>::point[i];
  return product;
}

// u = G g, a point and its opposite at a time: even and odd powers are shared
template <int A, int R>
HWY_INLINE void WeightLine(const Vf (&g)[R], Vf (&u)[A]) {
  u[0] = Times(Power<A>(0, 0), g[0]);
#pragma GCC unroll 2
  for (int i = 1; i < A - 1; i += 2) {
    Vf even = Times(Power<A>(i, 0), g[0]), odd = Times(Power<A>(i, 1), g[1]);
#pragma GCC unroll 4
    for (int k = 2; k < R; k += 2) even = Plus(Power<A>(i, k), g[k], even);
#pragma GCC unroll 4
    for (int k = 3; k < R; k += 2) odd = Plus(Power<A>(i, k), g[k], odd);
    u[i] = hn::Add(even, odd);
    u[i + 1] = hn::Sub(even, odd);
  }
  u[A - 1] = g[R - 1];
}

// g = G^T u, likewise
template <int A, int R>
HWY_INLINE void WeightGradLine(const Vf (&u)[A], Vf (&g)[R]) {
  g[0] = Times(Power<A>(0, 0), u[0]);
  for (int k = 1; k < R; ++k) g[k] = k == R - 1 ? u[A - 1] : hn::Zero(D());
#pragma GCC unroll 2
  for (int i = 1; i < A - 1; i += 2) {
    const Vf even = hn::Add(u[i], u[i + 1]), odd = hn::Sub(u[i], u[i + 1]);
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k) g[k] = Plus(Power<A>(i, k), k % 2 ? odd : even, g[k]);
  }
}

HWY_INLINE void StoreHalves(WholeVector, hn::Vec<Halves> v, uint16_t* p) {
  hn::StoreU(v, Halves(), p);
}
HWY_INLINE void StoreHalves(PartVector part, hn::Vec<Halves> v, uint16_t* p) {
  HWY_ALIGN uint16_t all[HWY_LANES(float)];
  hn::StoreU(v, Halves(), all);
  std::memcpy(p, all, part.count * sizeof(uint16_t));
}

/// rows[i] = (L x)[i] for an N x N block x(i, j).
template <class Lines, class Get>
HWY_INLINE void FirstHalf(Get get, Vf (&rows)[Lines::kTo][Lines::kFrom]) {
  constexpr int N = Lines::kFrom, A = Lines::kTo;
#pragma GCC unroll 6
  for (int j = 0; j < N; ++j) {
    Vf in[N], out[A];
#pragma GCC unroll 6
    for (int i = 0; i < N; ++i) in[i] = get(i, j);
    Lines::Run(in, out);
#pragma GCC unroll 6
    for (int i = 0; i < A; ++i) rows[i][j] = out[i];
  }
}

/// t = L(L(x)^T)^T, shown to put(i, j, value) for A x A values.
template <class Lines, class Get, class Put>
HWY_INLINE void Transform(Get get, Put put) {
  constexpr int A = Lines::kTo;
  Vf rows[A][Lines::kFrom];
  FirstHalf<Lines>(get, rows);
#pragma GCC unroll 6
  for (int i = 0; i < A; ++i) {
    Vf out[A];
    Lines::Run(rows[i], out);
#pragma GCC unroll 6
    for (int j = 0; j < A; ++j) put(i, j, out[j]);
  }
}

/// Likewise of two blocks at once: put(i, j, value of x, value of y).
template <class Lines, class GetX, class GetY, class Put>
HWY_INLINE void TransformTwo(GetX x, GetY y, Put put) {
  constexpr int A = Lines::kTo;
  Vf x_rows[A][Lines::kFrom], y_rows[A][Lines::kFrom];
  FirstHalf<Lines>(x, x_rows);
  FirstHalf<Lines>(y, y_rows);
#pragma GCC unroll 6
  for (int i = 0; i < A; ++i) {
    Vf of_x[A], of_y[A];
    Lines::Run(x_rows[i], of_x);
    Lines::Run(y_rows[i], of_y);
#pragma GCC unroll 6
    for (int j = 0; j < A; ++j) put(i, j, of_x[j], of_y[j]);
  }
}

/// The lines above by name, from vectors of kFrom to vectors of kTo.
template <int A>
struct InputLines {
  static constexpr int kFrom = A, kTo = A;
  static HWY_INLINE void Run(const Vf (&d)[A], Vf (&t)[A]) { InputLine(d, t); }
};
template <int A, int M>
struct OutputLines {
  static constexpr int kFrom = A, kTo = M;
  static HWY_INLINE void Run(const Vf (&m)[A], Vf (&y)[M]) { OutputLine(m, y); }
};
template <int A, int M>
struct OutputGradLines {
  static constexpr int kFrom = M, kTo = A;
  static HWY_INLINE void Run(const Vf (&d)[M], Vf (&z)[A]) { OutputGradLine(d, z); }
};
template <int A, int R>
struct WeightLines {
  static constexpr int kFrom = R, kTo = A;
  static HWY_INLINE void Run(const Vf (&g)[R], Vf (&u)[A]) { WeightLine<A, R>(g, u); }
};
template <int A, int R>
struct WeightGradLines {
  static constexpr int kFrom = A, kTo = R;
  static HWY_INLINE void Run(const Vf (&u)[A], Vf (&g)[R]) { WeightGradLine<A, R>(u, g); }
};

/// Which of the S pixels from `at` on lie inside of an image of `size`.
template <int S>
struct Inside {
  int64_t at, size;
  HWY_INLINE bool has(int i) const { return at + i >= 0 && at + i < size; }
  HWY_INLINE bool all() const { return has(0) && has(S - 1); }
};

/// A tile at the edge of an image: rows outside of it are one zero pixel again and again. No
/// branch for each pixel: in small images most tiles are such ones.
template <int S>
struct EdgeTile {
  alignas(64) static constexpr float kZeros[HWY_MAX_BYTES / sizeof(float)] = {};
  const float* row[S];
  int64_t pixel[S];
  Inside<S> cols;

  HWY_INLINE EdgeTile(const float* corner, int64_t line, int64_t step, const Inside<S>& inside_rows,
                      const Inside<S>& inside_cols)
      : cols(inside_cols) {
    for (int i = 0; i < S; ++i) {
      const bool there = inside_rows.has(i);
      row[i] = there ? corner + i * line : kZeros;
      pixel[i] = there ? step : 0;
    }
  }
  HWY_INLINE const float* operator()(int i, int j) const {
    return cols.has(j) ? row[i] + j * pixel[i] : kZeros;
  }
};

/// f(get, first channel, tile) for the vectors of all tiles, S pixels in size and `step` apart:
/// get(i, j) is a pixel of the tile. Meanwhile the rows come that the next row of tiles reads
/// beyond these: rows of a tile are too short for the processor to foresee more.
template <int S, class F>
HWY_INLINE void ForTiles(const TileRow& row, int step, F f) {
  const int64_t line = row.width * row.channels;
  const Inside<S> rows{row.row, row.height};
  for (int64_t t = 0; t < row.tiles; ++t) {
    const Inside<S> cols{row.col + t * step, row.width};
    const float* corner = row.image + row.row * line + cols.at * row.channels;
    const bool whole = rows.all() && cols.all();
    ForVectors(row.channels, [&](auto lane, int64_t c) HWY_ATTR {
      const auto place = [&](int i, int j)
                             HWY_ATTR { return corner + (i * line + j * row.channels + c); };
      for (int i = S; i < S + step; ++i) {
        for (int j = 0; j < step; ++j) __builtin_prefetch(place(i, j), 0, 3);
      }
      if (whole) {
        return f([&](int i, int j) HWY_ATTR { return lane.load(place(i, j)); }, lane, c, t);
      }
      const EdgeTile<S> edge(corner + c, line, row.channels, rows, cols);
      f([&](int i, int j) HWY_ATTR { return lane.load(edge(i, j)); }, lane, c, t);
    });
  }
}

/// Two tiles at a time, a last one beside zeros: f(get, get, lane, first channel, pair).
template <int S, class F>
HWY_INLINE void ForTwoTiles(const TileRow& row, int step, F f) {
  const int64_t line = row.width * row.channels;
  const Inside<S> rows{row.row, row.height};
  for (int64_t t = 0; t < row.tiles; t += 2) {
    const Inside<S> cols{row.col + t * step, row.width};
    const Inside<S> next =
        t + 1 < row.tiles ? Inside<S>{cols.at + step, row.width} : Inside<S>{-S, 0};
    const float* corner = row.image + row.row * line + cols.at * row.channels;
    const bool whole = rows.all() && cols.all() && next.all();
    ForVectors(row.channels, [&](auto lane, int64_t c) HWY_ATTR {
      const auto place = [&](int i, int j)
                             HWY_ATTR { return corner + (i * line + j * row.channels + c); };
      for (int i = S; i < S + step; ++i) {
        for (int j = 0; j < 2 * step; ++j) __builtin_prefetch(place(i, j), 0, 3);
      }
      if (whole) {
        return f([&](int i, int j) HWY_ATTR { return lane.load(place(i, j)); },
                 [&](int i, int j) HWY_ATTR { return lane.load(place(i, j + step)); }, lane, c,
                 t / 2);
      }
      const EdgeTile<S> edge(corner + c, line, row.channels, rows, cols);
      const EdgeTile<S> next_edge(place(0, step), line, row.channels, rows, next);
      f([&](int i, int j) HWY_ATTR { return lane.load(edge(i, j)); },
        [&](int i, int j) HWY_ATTR { return lane.load(next_edge(i, j)); }, lane, c, t / 2);
    });
  }
}

/// Where one vector of a tile's transformed channels goes, a plane further for each point.
struct AsFloats {
  float* to;
  int64_t plane;

  AsFloats(float* v, const TileLayout& o, int64_t tile, int64_t c)
      : to(v + tile * o.line + c), plane(o.plane) {}
  template <class Lane>
  HWY_INLINE void put(Lane lane, int point, Vf value) const {
    lane.store(value, to + point * plane);
  }
};
template <class Round>
struct AsChannelPairs {
  uint16_t* to;
  int64_t plane;

  AsChannelPairs(float* v, const TileLayout& o, int64_t tile, int64_t c)
      : to(reinterpret_cast<uint16_t*>(v + tile * o.line) + c), plane(2 * o.plane) {}
  template <class Lane>
  HWY_INLINE void put(Lane lane, int point, Vf value) const {
    StoreHalves(lane, Round::Bits(value), to + point * plane);
  }
};

template <class Lines, class Get, class Lane, class Place>
HWY_NOINLINE void Tile(Get get, Lane lane, Place place) {
  Transform<Lines>(get,
                   [&](int i, int j, Vf t) HWY_ATTR { place.put(lane, i * Lines::kTo + j, t); });
}

template <class Lines, class Place>
HWY_INLINE void Tiles(const TileRow& row, int step, const TileLayout& layout, float* v) {
  ForTiles<Lines::kFrom>(row, step, [&](auto get, auto lane, int64_t c, int64_t tile) HWY_ATTR {
    Tile<Lines>(get, lane, Place(v, layout, tile, c));
  });
}

template <class Lines, class Round, class GetX, class GetY, class Lane>
HWY_NOINLINE void TwoTiles(GetX x, GetY y, Lane lane, AsFloats place) {
  TransformTwo<Lines>(x, y, [&](int i, int j, Vf of_x, Vf of_y) HWY_ATTR {
    place.put(lane, i * Lines::kTo + j, Round::Words(of_x, of_y));
  });
}

template <class Lines, class Round>
HWY_INLINE void PairsOfTiles(const TileRow& row, int step, const TileLayout& layout, float* v) {
  ForTwoTiles<Lines::kFrom>(row, step,
                            [&](auto x, auto y, auto lane, int64_t c, int64_t pair) HWY_ATTR {
                              TwoTiles<Lines, Round>(x, y, lane, AsFloats(v, layout, pair, c));
                            });
}

template <class Lines>
HWY_INLINE void TilesAs(const TileRow& row, int step, const TileLayout& layout, float* v) {
  if (layout.words == TileWords::floats) return Tiles<Lines, AsFloats>(row, step, layout, v);
  WithRounding([&](auto round) HWY_ATTR {
    using Round = decltype(round);
    if (layout.words == TileWords::tile_pairs) {
      return PairsOfTiles<Lines, Round>(row, step, layout, v);
    }
    Tiles<Lines, AsChannelPairs<Round>>(row, step, layout, v);
  });
}

template <int A, int R>
HWY_INLINE void Weight(const float* packed, int64_t count, int64_t plane, float* u) {
  ForVectors(count, [&](auto lane, int64_t e) HWY_ATTR {
    Transform<WeightLines<A, R>>(
        [&](int i, int j) HWY_ATTR { return lane.load(packed + (i * R + j) * count + e); },
        [&](int i, int j, Vf t) HWY_ATTR { lane.store(t, u + (i * A + j) * plane + e); });
  });
}

template <int A, int R, class Round>
HWY_INLINE void WeightPairs(const float* packed, int64_t channels, int64_t width, int64_t plane,
                            float* u) {
  const int64_t count = channels * width;
  for (int64_t c = 0; c < channels; c += 2, packed += 2 * width, u += width) {
    ForVectors(width, [&](auto lane, int64_t n) HWY_ATTR {
      const float* taps = packed + n;
      Vf first[A * A];  // two transforms at once would not fit the registers
      Transform<WeightLines<A, R>>([&](int i, int j)
                                       HWY_ATTR { return lane.load(taps + (i * R + j) * count); },
                                   [&](int i, int j, Vf t) HWY_ATTR { first[i * A + j] = t; });
      taps += width;
      Transform<WeightLines<A, R>>(
          [&](int i, int j) HWY_ATTR { return lane.load(taps + (i * R + j) * count); },
          [&](int i, int j, Vf t) HWY_ATTR {
            lane.store(Round::Words(first[i * A + j], t), u + (i * A + j) * plane + n);
          });
    });
  }
}

template <int A, int R>
HWY_INLINE void Weights(bool bf16, const float* packed, int64_t channels, int64_t width,
                        int64_t plane, float* u) {
  if (!bf16) return Weight<A, R>(packed, channels * width, plane, u);
  WithRounding([&](auto round) HWY_ATTR {
    WeightPairs<A, R, decltype(round)>(packed, channels, width, plane, u);
  });
}

template <int A, int R>
HWY_INLINE void WeightGrad(const float* du, int64_t plane, int64_t count, float* dw,
                           int64_t dw_tap) {
  ForVectors(count, [&](auto lane, int64_t e) HWY_ATTR {
    Transform<WeightGradLines<A, R>>(
        [&](int i, int j) HWY_ATTR { return lane.load(du + (i * A + j) * plane + e); },
        [&](int i, int j, Vf t) HWY_ATTR { lane.store(t, dw + (i * R + j) * dw_tap + e); });
  });
}

template <int A, int M>
HWY_INLINE void Output(const WinogradOutput& o) {
  const float* products = o.products;
  for (int64_t t = 0; t < o.tiles; ++t, products += o.stride) {
    float* y = o.y + t * M * o.y_pixel;
    const int64_t columns = o.columns - t * M;
    ForVectors(o.channels, [&](auto lane, int64_t c) HWY_ATTR {
      for (int i = M; i < 2 * M; ++i) {  // where the next row of tiles goes
        for (int j = 0; j < M; ++j) __builtin_prefetch(y + i * o.y_row + j * o.y_pixel + c, 1, 3);
      }
      const Vf bias = lane.load(o.bias + c);
      Transform<OutputLines<A, M>>(
          [&](int i, int j) HWY_ATTR { return lane.load(products + (i * A + j) * o.plane + c); },
          [&](int i, int j, Vf u) HWY_ATTR {
            if (i < o.rows && j < columns) {
              lane.store(hn::Add(u, bias), y + i * o.y_row + j * o.y_pixel + c);
            }
          });
    });
  }
}

void WinogradInput(WinogradKind kind, const TileRow& row, const TileLayout& layout, float* v) {
  if (kind.alpha() == 4) return TilesAs<InputLines<4>>(row, kind.m, layout, v);
  TilesAs<InputLines<6>>(row, kind.m, layout, v);
}

void WinogradWeight(WinogradKind kind, const float* packed, int64_t channels, int64_t width,
                    int64_t plane, float* u) {
  if (kind.alpha() == 4) return Weights<4, 3>(kind.bf16, packed, channels, width, plane, u);
  if (kind.r == 3) return Weights<6, 3>(kind.bf16, packed, channels, width, plane, u);
  Weights<6, 5>(kind.bf16, packed, channels, width, plane, u);
}

void WinogradOutputs(WinogradKind kind, const WinogradOutput& o) {
  if (kind.alpha() == 4) return Output<4, 2>(o);
  if (kind.m == 4) return Output<6, 4>(o);
  Output<6, 2>(o);
}

void WinogradOutputGrad(WinogradKind kind, const TileRow& row, const TileLayout& layout, float* z) {
  if (kind.alpha() == 4) return TilesAs<OutputGradLines<4, 2>>(row, kind.m, layout, z);
  if (kind.m == 4) return TilesAs<OutputGradLines<6, 4>>(row, kind.m, layout, z);
  TilesAs<OutputGradLines<6, 2>>(row, kind.m, layout, z);
}

void WinogradWeightGrad(WinogradKind kind, const float* du, int64_t plane, int64_t count, float* dw,
                        int64_t dw_tap) {
  if (kind.alpha() == 4) return WeightGrad<4, 3>(du, plane, count, dw, dw_tap);
  if (kind.r == 3) return WeightGrad<6, 3>(du, plane, count, dw, dw_tap);
  WeightGrad<6, 5>(du, plane, count, dw, dw_tap);
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(WinogradInput);
HWY_EXPORT(WinogradWeight);
HWY_EXPORT(WinogradOutputs);
HWY_EXPORT(WinogradOutputGrad);
HWY_EXPORT(WinogradWeightGrad);

void winograd_input(WinogradKind kind, const TileRow& row, const TileLayout& layout,
                    float* v) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradInput)(kind, row, layout, v);
}

void winograd_weight(WinogradKind kind, const float* packed, int64_t channels, int64_t width,
                     int64_t plane, float* u) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradWeight)(kind, packed, channels, width, plane, u);
}

void winograd_output(WinogradKind kind, const WinogradOutput& out) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradOutputs)(kind, out);
}

void winograd_output_grad(WinogradKind kind, const TileRow& row, const TileLayout& layout,
                          float* z) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradOutputGrad)(kind, row, layout, z);
}

void winograd_weight_grad(WinogradKind kind, const float* du, int64_t plane, int64_t count,
                          float* dw, int64_t dw_tap) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradWeightGrad)(kind, du, plane, count, dw, dw_tap);
}

}  // namespace pare::kernels
#endif
