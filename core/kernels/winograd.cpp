// The transforms of winograd.h, a vector of channels at a time.
#include "core/kernels/winograd.h"

#include "core/kernels/highway.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/winograd.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using Vf = hn::Vec<D>;

HWY_INLINE Vf Times(float factor, Vf x) { return hn::Mul(hn::Set(D(), factor), x); }
HWY_INLINE Vf Plus(float factor, Vf x, Vf y) { return hn::MulAdd(hn::Set(D(), factor), x, y); }

// t = B^T d
HWY_INLINE void InputLine(const Vf (&d)[4], Vf (&t)[4]) {
  t[0] = hn::Sub(d[0], d[2]);
  t[1] = hn::Add(d[1], d[2]);
  t[2] = hn::Sub(d[2], d[1]);
  t[3] = hn::Sub(d[1], d[3]);
}
//       4  0 -5  0  1  0
//       0 -4 -4  1  1  0
//       0  4 -4 -1  1  0
//       0 -2 -1  2  1  0
//       0  2 -1 -2  1  0
//       0  4  0 -5  0  1
HWY_INLINE void InputLine(const Vf (&d)[6], Vf (&t)[6]) {
  const Vf even = Plus(-4, d[2], d[4]), odd = Plus(-4, d[1], d[3]);
  const Vf far_even = hn::Sub(d[4], d[2]), far_odd = Times(2, hn::Sub(d[3], d[1]));
  t[0] = Plus(4, d[0], Plus(-5, d[2], d[4]));
  t[1] = hn::Add(even, odd);
  t[2] = hn::Sub(even, odd);
  t[3] = hn::Add(far_even, far_odd);
  t[4] = hn::Sub(far_even, far_odd);
  t[5] = Plus(4, d[1], Plus(-5, d[3], d[5]));
}

// y = A^T m,  A^T[j][i] = point_i^j, infinity in the last row
HWY_INLINE void OutputLine(const Vf (&m)[4], Vf (&y)[2]) {
  y[0] = hn::Add(m[0], hn::Add(m[1], m[2]));
  y[1] = hn::Sub(hn::Sub(m[1], m[2]), m[3]);
}
HWY_INLINE void OutputLine(const Vf (&m)[6], Vf (&y)[2]) {
  const Vf near = hn::Add(m[1], m[2]), far = hn::Add(m[3], m[4]);
  y[0] = hn::Add(m[0], hn::Add(near, far));
  y[1] = hn::Add(Plus(2, hn::Sub(m[3], m[4]), hn::Sub(m[1], m[2])), m[5]);
}
HWY_INLINE void OutputLine(const Vf (&m)[6], Vf (&y)[4]) {
  const Vf near = hn::Add(m[1], m[2]), near_odd = hn::Sub(m[1], m[2]);
  const Vf far = hn::Add(m[3], m[4]), far_odd = hn::Sub(m[3], m[4]);
  y[0] = hn::Add(m[0], hn::Add(near, far));
  y[1] = Plus(2, far_odd, near_odd);
  y[2] = Plus(4, far, near);
  y[3] = hn::Add(Plus(8, far_odd, near_odd), m[5]);
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
  z[1] = hn::Add(d[0], d[1]);
  z[2] = hn::Sub(d[0], d[1]);
  z[3] = Plus(2, d[1], d[0]);
  z[4] = Plus(-2, d[1], d[0]);
  z[5] = d[1];
}
HWY_INLINE void OutputGradLine(const Vf (&d)[4], Vf (&z)[6]) {
  const Vf even = hn::Add(d[0], d[2]), odd = hn::Add(d[1], d[3]);
  const Vf far_even = Plus(4, d[2], d[0]), far_odd = Plus(8, d[3], Times(2, d[1]));
  z[0] = d[0];
  z[1] = hn::Add(even, odd);
  z[2] = hn::Sub(even, odd);
  z[3] = hn::Add(far_even, far_odd);
  z[4] = hn::Sub(far_even, far_odd);
  z[5] = d[3];
}

// G[i][k] = point_i^k / norm_i, infinity in the last row
template <int A>
struct Points;
template <>
struct Points<4> {
  static constexpr float point[3] = {0, 1, -1}, norm[3] = {1, 2, 2};
};
template <>
struct Points<6> {
  static constexpr float point[5] = {0, 1, -1, 2, -2}, norm[5] = {4, -6, -6, 24, 24};
};

template <int A, int R>
HWY_INLINE void WeightLine(const Vf (&g)[R], Vf (&u)[A]) {
  using P = Points<A>;
  for (int i = 0; i < A - 1; ++i) {
    Vf sum = g[R - 1];  // Horner
    for (int k = R - 2; k >= 0; --k) sum = Plus(P::point[i], sum, g[k]);
    u[i] = Times(1 / P::norm[i], sum);
  }
  u[A - 1] = g[R - 1];
}

// g = G^T u
template <int A, int R>
HWY_INLINE void WeightGradLine(const Vf (&u)[A], Vf (&g)[R]) {
  using P = Points<A>;
  for (int k = 0; k < R; ++k) g[k] = k == R - 1 ? u[A - 1] : hn::Zero(D());
  for (int i = 0; i < A - 1; ++i) {
    Vf term = Times(1 / P::norm[i], u[i]);
    for (int k = 0; k < R; ++k) {
      g[k] = hn::Add(g[k], term);
      term = Times(P::point[i], term);
    }
  }
}

/// Vectors of channels: whole ones without a look at how many lanes are in use.
struct WholeVector {
  HWY_INLINE Vf load(const float* p) const { return hn::LoadU(D(), p); }
  HWY_INLINE void store(Vf v, float* p) const { hn::StoreU(v, D(), p); }
};
struct PartVector {
  size_t count;
  HWY_INLINE Vf load(const float* p) const { return LoadTail(D(), p, count); }
  HWY_INLINE void store(Vf v, float* p) const { StoreTail(v, D(), p, count); }
};

/// f(lane, first channel)
template <class F>
HWY_INLINE void ForChannels(int64_t channels, F f) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(D()));
  int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) f(WholeVector(), c);
  if (c < channels) f(PartVector{static_cast<size_t>(channels - c)}, c);
}

/// t = L(L(x)^T)^T for an N x N block x(i, j), shown to put(i, j, value) for A x A values.
template <int N, int A, class Get, class Put, class Line>
HWY_INLINE void Transform(Get get, Put put, Line line) {
  Vf rows[A][N];
#pragma GCC unroll 6
  for (int j = 0; j < N; ++j) {
    Vf in[N], out[A];
#pragma GCC unroll 6
    for (int i = 0; i < N; ++i) in[i] = get(i, j);
    line(in, out);
#pragma GCC unroll 6
    for (int i = 0; i < A; ++i) rows[i][j] = out[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < A; ++i) {
    Vf out[A];
    line(rows[i], out);
#pragma GCC unroll 6
    for (int j = 0; j < A; ++j) put(i, j, out[j]);
  }
}

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
    ForChannels(row.channels, [&](auto lane, int64_t c) HWY_ATTR {
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

template <int A, class Get, class Lane>
HWY_NOINLINE void InputTile(Get get, Lane lane, float* to, int64_t plane) {
  Transform<A, A>(
      get, [&](int i, int j, Vf u) HWY_ATTR { lane.store(u, to + (i * A + j) * plane); },
      [](const Vf(&in)[A], Vf(&out)[A]) HWY_ATTR { InputLine(in, out); });
}

template <int A>
HWY_INLINE void Input(int m, const TileRow& row, int64_t plane, float* v) {
  ForTiles<A>(row, m, [&](auto get, auto lane, int64_t c, int64_t tile) HWY_ATTR {
    InputTile<A>(get, lane, v + tile * row.channels + c, plane);
  });
}

template <int A, int R>
HWY_INLINE void Weight(const float* packed, int64_t count, int64_t plane, float* u) {
  ForChannels(count, [&](auto lane, int64_t e) HWY_ATTR {
    Transform<R, A>(
        [&](int i, int j) HWY_ATTR { return lane.load(packed + (i * R + j) * count + e); },
        [&](int i, int j, Vf t) HWY_ATTR { lane.store(t, u + (i * A + j) * plane + e); },
        [](const Vf(&in)[R], Vf(&out)[A]) HWY_ATTR { WeightLine<A, R>(in, out); });
  });
}

template <int A, int M, class Get, class Lane>
HWY_NOINLINE void OutputGradTile(Get get, Lane lane, float* to, int64_t plane) {
  Transform<M, A>(
      get, [&](int i, int j, Vf u) HWY_ATTR { lane.store(u, to + (i * A + j) * plane); },
      [](const Vf(&in)[M], Vf(&out)[A]) HWY_ATTR { OutputGradLine(in, out); });
}

template <int A, int M>
HWY_INLINE void OutputGrad(const TileRow& row, int64_t plane, float* z) {
  ForTiles<M>(row, M, [&](auto get, auto lane, int64_t c, int64_t tile) HWY_ATTR {
    OutputGradTile<A, M>(get, lane, z + tile * row.channels + c, plane);
  });
}

template <int A, int R>
HWY_INLINE void WeightGrad(const float* du, int64_t plane, int64_t count, float* dw) {
  ForChannels(count, [&](auto lane, int64_t e) HWY_ATTR {
    Transform<A, R>([&](int i, int j) HWY_ATTR { return lane.load(du + (i * A + j) * plane + e); },
                    [&](int i, int j, Vf t)
                        HWY_ATTR { lane.store(t, dw + (i * R + j) * count + e); },
                    [](const Vf(&in)[A], Vf(&out)[R]) HWY_ATTR { WeightGradLine<A, R>(in, out); });
  });
}

template <int A, int M>
HWY_INLINE void Output(const WinogradOutput& o) {
  const float* products = o.products;
  for (int64_t t = 0; t < o.tiles; ++t, products += o.stride) {
    float* y = o.y + t * M * o.y_pixel;
    const int64_t columns = o.columns - t * M;
    ForChannels(o.channels, [&](auto lane, int64_t c) HWY_ATTR {
      for (int i = M; i < 2 * M; ++i) {  // where the next row of tiles goes
        for (int j = 0; j < M; ++j) __builtin_prefetch(y + i * o.y_row + j * o.y_pixel + c, 1, 3);
      }
      const Vf bias = lane.load(o.bias + c);
      Transform<A, M>([&](int i, int j)
                          HWY_ATTR { return lane.load(products + (i * A + j) * o.plane + c); },
                      [&](int i, int j, Vf u) HWY_ATTR {
                        if (i < o.rows && j < columns) {
                          lane.store(hn::Add(u, bias), y + i * o.y_row + j * o.y_pixel + c);
                        }
                      },
                      [](const Vf(&in)[A], Vf(&out)[M]) HWY_ATTR { OutputLine(in, out); });
    });
  }
}

void WinogradInput(WinogradKind kind, const TileRow& row, int64_t plane, float* v) {
  if (kind.alpha() == 4) return Input<4>(kind.m, row, plane, v);
  Input<6>(kind.m, row, plane, v);
}

void WinogradWeight(WinogradKind kind, const float* packed, int64_t count, int64_t plane,
                    float* u) {
  if (kind.alpha() == 4) return Weight<4, 3>(packed, count, plane, u);
  if (kind.r == 3) return Weight<6, 3>(packed, count, plane, u);
  Weight<6, 5>(packed, count, plane, u);
}

void WinogradOutputs(WinogradKind kind, const WinogradOutput& o) {
  if (kind.alpha() == 4) return Output<4, 2>(o);
  if (kind.m == 4) return Output<6, 4>(o);
  Output<6, 2>(o);
}

void WinogradOutputGrad(WinogradKind kind, const TileRow& row, int64_t plane, float* z) {
  if (kind.alpha() == 4) return OutputGrad<4, 2>(row, plane, z);
  if (kind.m == 4) return OutputGrad<6, 4>(row, plane, z);
  OutputGrad<6, 2>(row, plane, z);
}

void WinogradWeightGrad(WinogradKind kind, const float* du, int64_t plane, int64_t count,
                        float* dw) {
  if (kind.alpha() == 4) return WeightGrad<4, 3>(du, plane, count, dw);
  if (kind.r == 3) return WeightGrad<6, 3>(du, plane, count, dw);
  WeightGrad<6, 5>(du, plane, count, dw);
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

void winograd_input(WinogradKind kind, const TileRow& row, int64_t plane, float* v) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradInput)(kind, row, plane, v);
}

void winograd_weight(WinogradKind kind, const float* packed, int64_t count, int64_t plane,
                     float* u) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradWeight)(kind, packed, count, plane, u);
}

void winograd_output(WinogradKind kind, const WinogradOutput& out) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradOutputs)(kind, out);
}

void winograd_output_grad(WinogradKind kind, const TileRow& row, int64_t plane, float* z) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradOutputGrad)(kind, row, plane, z);
}

void winograd_weight_grad(WinogradKind kind, const float* du, int64_t plane, int64_t count,
                          float* dw) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradWeightGrad)(kind, du, plane, count, dw);
}

}  // namespace pare::kernels
#endif
