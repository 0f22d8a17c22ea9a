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

template <int A>
HWY_INLINE void Input(const float* x, int64_t line, int64_t channels, int64_t plane, float* v) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < channels; c += lanes) {
    const size_t count = static_cast<size_t>(channels - c < lanes ? channels - c : lanes);
    Vf rows[A][A];
    for (int j = 0; j < A; ++j) {
      Vf in[A], out[A];
      for (int i = 0; i < A; ++i) in[i] = LoadFirst(d, x + i * line + j * channels + c, count);
      InputLine(in, out);
      for (int i = 0; i < A; ++i) rows[i][j] = out[i];
    }
    for (int i = 0; i < A; ++i) {
      Vf out[A];
      InputLine(rows[i], out);
      for (int j = 0; j < A; ++j) StoreFirst(out[j], d, v + (i * A + j) * plane + c, count);
    }
  }
}

template <int A, int R>
HWY_INLINE void Weight(const float* packed, int64_t count, float* u) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t e = 0; e < count; e += lanes) {
    const size_t use = static_cast<size_t>(count - e < lanes ? count - e : lanes);
    Vf rows[A][R];
    for (int k = 0; k < R; ++k) {
      Vf in[R], out[A];
      for (int i = 0; i < R; ++i) in[i] = LoadFirst(d, packed + (i * R + k) * count + e, use);
      WeightLine<A, R>(in, out);
      for (int i = 0; i < A; ++i) rows[i][k] = out[i];
    }
    for (int i = 0; i < A; ++i) {
      Vf out[A];
      WeightLine<A, R>(rows[i], out);
      for (int j = 0; j < A; ++j) StoreFirst(out[j], d, u + (i * A + j) * count + e, use);
    }
  }
}

template <int A, int M>
HWY_INLINE void OutputGrad(const float* dy, int64_t line, int64_t channels, int64_t plane,
                           float* z) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < channels; c += lanes) {
    const size_t count = static_cast<size_t>(channels - c < lanes ? channels - c : lanes);
    Vf rows[A][M];
    for (int j = 0; j < M; ++j) {
      Vf in[M], out[A];
      for (int i = 0; i < M; ++i) in[i] = LoadFirst(d, dy + i * line + j * channels + c, count);
      OutputGradLine(in, out);
      for (int i = 0; i < A; ++i) rows[i][j] = out[i];
    }
    for (int i = 0; i < A; ++i) {
      Vf out[A];
      OutputGradLine(rows[i], out);
      for (int j = 0; j < A; ++j) StoreFirst(out[j], d, z + (i * A + j) * plane + c, count);
    }
  }
}

template <int A, int R>
HWY_INLINE void WeightGrad(const float* du, int64_t plane, int64_t count, float* dw) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t e = 0; e < count; e += lanes) {
    const size_t use = static_cast<size_t>(count - e < lanes ? count - e : lanes);
    Vf rows[R][A];
    for (int j = 0; j < A; ++j) {
      Vf in[A], out[R];
      for (int i = 0; i < A; ++i) in[i] = LoadFirst(d, du + (i * A + j) * plane + e, use);
      WeightGradLine<A, R>(in, out);
      for (int i = 0; i < R; ++i) rows[i][j] = out[i];
    }
    for (int i = 0; i < R; ++i) {
      Vf out[R];
      WeightGradLine<A, R>(rows[i], out);
      for (int k = 0; k < R; ++k) StoreFirst(out[k], d, dw + (i * R + k) * count + e, use);
    }
  }
}

template <int A, int M>
HWY_INLINE void Output(const WinogradOutput& o) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < o.cols; c += lanes) {
    const size_t count = static_cast<size_t>(o.cols - c < lanes ? o.cols - c : lanes);
    Vf rows[M][A];
    for (int j = 0; j < A; ++j) {
      Vf in[A], out[M];
      for (int i = 0; i < A; ++i) {
        in[i] = LoadFirst(d, o.products + (i * A + j) * o.plane + c, count);
      }
      OutputLine(in, out);
      for (int i = 0; i < M; ++i) rows[i][j] = out[i];
    }
    const Vf bias = LoadFirst(d, o.bias + c, count);
    for (int i = 0; i < o.rows; ++i) {
      Vf out[M];
      OutputLine(rows[i], out);
      for (int j = 0; j < o.columns; ++j) {
        StoreFirst(hn::Add(out[j], bias), d, o.y + i * o.y_row + j * o.y_pixel + c, count);
      }
    }
  }
}

void WinogradInput(WinogradKind kind, const float* x, int64_t line, int64_t channels, int64_t plane,
                   float* v) {
  if (kind.alpha() == 4) return Input<4>(x, line, channels, plane, v);
  Input<6>(x, line, channels, plane, v);
}

void WinogradWeight(WinogradKind kind, const float* packed, int64_t count, float* u) {
  if (kind.alpha() == 4) return Weight<4, 3>(packed, count, u);
  if (kind.r == 3) return Weight<6, 3>(packed, count, u);
  Weight<6, 5>(packed, count, u);
}

void WinogradOutputs(WinogradKind kind, const WinogradOutput& o) {
  if (kind.alpha() == 4) return Output<4, 2>(o);
  if (kind.m == 4) return Output<6, 4>(o);
  Output<6, 2>(o);
}

void WinogradOutputGrad(WinogradKind kind, const float* dy, int64_t line, int64_t channels,
                        int64_t plane, float* z) {
  if (kind.alpha() == 4) return OutputGrad<4, 2>(dy, line, channels, plane, z);
  if (kind.m == 4) return OutputGrad<6, 4>(dy, line, channels, plane, z);
  OutputGrad<6, 2>(dy, line, channels, plane, z);
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

void winograd_input(WinogradKind kind, const float* x, int64_t line, int64_t channels,
                    int64_t plane, float* v) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradInput)(kind, x, line, channels, plane, v);
}

void winograd_weight(WinogradKind kind, const float* packed, int64_t count, float* u) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradWeight)(kind, packed, count, u);
}

void winograd_output(WinogradKind kind, const WinogradOutput& out) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradOutputs)(kind, out);
}

void winograd_output_grad(WinogradKind kind, const float* dy, int64_t line, int64_t channels,
                          int64_t plane, float* z) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradOutputGrad)(kind, dy, line, channels, plane, z);
}

void winograd_weight_grad(WinogradKind kind, const float* du, int64_t plane, int64_t count,
                          float* dw) noexcept {
  HWY_DYNAMIC_DISPATCH(WinogradWeightGrad)(kind, du, plane, count, dw);
}

}  // namespace pare::kernels
#endif
