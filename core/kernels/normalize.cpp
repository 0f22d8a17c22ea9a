#include "core/kernels/normalize.h"

#include <algorithm>

#include "core/kernels/highway.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/normalize.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/fake_quant-inl.h"
#include "core/kernels/map-inl.h"
#include "core/kernels/pointwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using Vf = hn::Vec<D>;

/// Whole vectors and the tail of a row of channels behind one face.
struct Lane {
  D d;
  int64_t count;  // lanes in use
  bool whole;

  HWY_INLINE Vf load(const float* p) const {
    return whole ? hn::LoadU(d, p) : LoadTail(d, p, static_cast<size_t>(count));
  }
  HWY_INLINE void store(Vf v, float* p) const {
    if (whole) {
      hn::StoreU(v, d, p);
    } else {
      StoreTail(v, d, p, static_cast<size_t>(count));
    }
  }
};

/// f(lane, c, first row, last row) for vectors of channels over blocks of rows: the block's lines
/// stay in L1 and the per-channel values in registers.
template <class F>
HWY_INLINE void ForEachTile(int64_t rows, int64_t channels, F f) {
  constexpr int64_t kBlock = 32;
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t row = 0; row < rows; row += kBlock) {
    const int64_t end = std::min(row + kBlock, rows);
    int64_t c = 0;
    for (; c + lanes <= channels; c += lanes) f(Lane{d, lanes, true}, c, row, end);
    if (c < channels) f(Lane{d, channels - c, false}, c, row, end);
  }
}

void MomentsOf(const float* x, const float* origin, int64_t rows, int64_t channels,
               const ChannelMoments& out) {
  std::fill(out.sum, out.sum + channels, 0.0f);
  std::fill(out.squares, out.squares + channels, 0.0f);
  std::copy(x, x + channels, out.min);
  std::copy(x, x + channels, out.max);
  ForEachTile(rows, channels, [&](Lane lane, int64_t c, int64_t row, int64_t end) HWY_ATTR {
    const Vf at = lane.load(origin + c);
    // Even and odd rows apart: two chains of additions hide each other's latency.
    Vf s0 = lane.load(out.sum + c), q0 = lane.load(out.squares + c), s1 = hn::Zero(lane.d), q1 = s1;
    Vf low = lane.load(out.min + c), high = lane.load(out.max + c);
    int64_t r = row;
    for (; r + 2 <= end; r += 2) {
      const Vf x0 = lane.load(x + r * channels + c), x1 = lane.load(x + (r + 1) * channels + c);
      const Vf a = hn::Sub(x0, at), b = hn::Sub(x1, at);
      low = hn::Min(low, hn::Min(x0, x1));
      high = hn::Max(high, hn::Max(x0, x1));
      s0 = hn::Add(s0, a);
      q0 = hn::MulAdd(a, a, q0);
      s1 = hn::Add(s1, b);
      q1 = hn::MulAdd(b, b, q1);
    }
    if (r < end) {
      const Vf x0 = lane.load(x + r * channels + c), a = hn::Sub(x0, at);
      low = hn::Min(low, x0);
      high = hn::Max(high, x0);
      s0 = hn::Add(s0, a);
      q0 = hn::MulAdd(a, a, q0);
    }
    lane.store(hn::Add(s0, s1), out.sum + c);
    lane.store(hn::Add(q0, q1), out.squares + c);
    lane.store(low, out.min + c);
    lane.store(high, out.max + c);
  });
}

template <bool kResidual>
HWY_INLINE Vf PreActivation(Lane lane, const Affine& u, Vf x, Vf scale, Vf shift, int64_t at) {
  const Vf affine = hn::MulAdd(x, scale, shift);
  if constexpr (kResidual) return hn::Add(affine, lane.load(u.residual + at));
  return affine;
}

/// f(lane, c, i) for the vectors of all rows, one after the other: rows of many channels are
/// several cache lines, and memory is read faster in its order than a column of 32 of them at a
/// time.
constexpr int64_t kWide = 96;
template <class F>
HWY_INLINE void ForEachVector(int64_t rows, int64_t channels, F f) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t at = 0; at < rows * channels; at += channels) {
    int64_t c = 0;
    for (; c + lanes <= channels; c += lanes) f(Lane{d, lanes, true}, c, at + c);
    if (c < channels) f(Lane{d, channels - c, false}, c, at + c);
  }
}

template <bool kResidual, class F>
HWY_INLINE void NormalizeWith(const Affine& u, F f, int64_t rows, int64_t channels, float* y) {
  if (channels >= kWide) {
    return ForEachVector(rows, channels, [&](Lane lane, int64_t c, int64_t i) HWY_ATTR {
      const Vf scale = lane.load(u.scale + c), shift = lane.load(u.shift + c);
      const Vf v = PreActivation<kResidual>(lane, u, lane.load(u.x + i), scale, shift, i);
      lane.store(f.Value(lane.d, v), y + i);
    });
  }
  ForEachTile(rows, channels, [&](Lane lane, int64_t c, int64_t row, int64_t end) HWY_ATTR {
    const Vf scale = lane.load(u.scale + c), shift = lane.load(u.shift + c);
    for (int64_t i = row * channels + c; i < end * channels; i += channels) {
      const Vf v = PreActivation<kResidual>(lane, u, lane.load(u.x + i), scale, shift, i);
      lane.store(f.Value(lane.d, v), y + i);
    }
  });
}

template <bool kResidual, class F>
HWY_INLINE void GradSumsWith(const Affine& u, F f, const float* dy, const float* mean, int64_t rows,
                             int64_t channels, float* g, const GradSums& sums) {
  ForEachTile(rows, channels, [&](Lane lane, int64_t c, int64_t row, int64_t end) HWY_ATTR {
    const Vf scale = lane.load(u.scale + c), shift = lane.load(u.shift + c),
             center = lane.load(mean + c);
    Vf s = lane.load(sums.sum + c), p = lane.load(sums.product + c);
    for (int64_t i = row * channels + c; i < end * channels; i += channels) {
      const Vf x = lane.load(u.x + i);
      const Vf v = PreActivation<kResidual>(lane, u, x, scale, shift, i);
      const Vf grad = hn::Mul(lane.load(dy + i), f.Slope(lane.d, v));
      if (g) lane.store(grad, g + i);
      s = hn::Add(s, grad);
      p = hn::MulAdd(grad, hn::Sub(x, center), p);
    }
    lane.store(s, sums.sum + c);
    lane.store(p, sums.product + c);
  });
}

template <bool kResidual, class F>
HWY_INLINE void GradInputWith(const Affine& u, F f, const float* dy, const InputGrad& grad,
                              int64_t rows, int64_t channels, float* dx) {
  if (channels >= kWide) {
    return ForEachVector(rows, channels, [&](Lane lane, int64_t c, int64_t i) HWY_ATTR {
      const Vf x = lane.load(u.x + i), mean = lane.load(grad.mean + c);
      const Vf v =
          PreActivation<kResidual>(lane, u, x, lane.load(u.scale + c), lane.load(u.shift + c), i);
      const Vf g = hn::Mul(lane.load(dy + i), f.Slope(lane.d, v));
      const Vf a = lane.load(grad.a + c), b = lane.load(grad.b + c), k = lane.load(grad.k + c);
      lane.store(hn::MulAdd(a, g, hn::MulAdd(b, hn::Sub(x, mean), k)), dx + i);
    });
  }
  ForEachTile(rows, channels, [&](Lane lane, int64_t c, int64_t row, int64_t end) HWY_ATTR {
    const Vf scale = lane.load(u.scale + c), shift = lane.load(u.shift + c),
             mean = lane.load(grad.mean + c);
    const Vf a = lane.load(grad.a + c), b = lane.load(grad.b + c), k = lane.load(grad.k + c);
    for (int64_t i = row * channels + c; i < end * channels; i += channels) {
      const Vf x = lane.load(u.x + i);
      const Vf v = PreActivation<kResidual>(lane, u, x, scale, shift, i);
      const Vf g = hn::Mul(lane.load(dy + i), f.Slope(lane.d, v));
      lane.store(hn::MulAdd(a, g, hn::MulAdd(b, hn::Sub(x, mean), k)), dx + i);
    }
  });
}

/// f, then the quantizer.
template <class F, Rounding kRounding>
struct QuantizedFunction {
  F f;
  QuantLanes<D> lanes;

  HWY_INLINE Vf Value(D d, Vf x) const {
    return Quantizing<kRounding>::Value(d, lanes, f.Value(d, x));
  }
  HWY_INLINE Vf Slope(D d, Vf x) const {
    const Vf v = f.Value(d, x);
    const auto outside = hn::Or(hn::Lt(v, lanes.min), hn::Gt(v, lanes.max));
    return hn::IfThenZeroElse(outside, f.Slope(d, x));
  }
};

/// g(f, rounding) for the functions that a quantizer may follow.
template <class G>
HWY_INLINE void WithFunctionBeforeQuantizer(const Finish& p, G&& g) {
  const auto rounded = [&](auto f) HWY_ATTR {
    WithQuantizing(p.quant->rounding, [&](auto q) HWY_ATTR { g(f, q); });
  };
  if (p.f.kind == Pointwise::Kind::relu) return rounded(Relu{});
  if (p.f.kind == Pointwise::Kind::relu6) return rounded(Relu6{});
  rounded(Identity{});
}

template <class G>
HWY_INLINE void WithFinish(const Finish& p, G&& g) {
  if (!p.quant) return WithFusable(p.f, g);
  WithFunctionBeforeQuantizer(
      p, [&]<class F, Rounding kRounding>(F f, Quantizing<kRounding>) HWY_ATTR {
        g(QuantizedFunction<F, kRounding>{f, QuantLanes<D>(D(), *p.quant)});
      });
}

/// GradSumsWith for a quantizer behind f, with its sums.
template <bool kResidual, class F, class Q>
HWY_INLINE void QuantGradSums(const Affine& u, F f, Q, const FakeQuant& quant, const float* dy,
                              const float* mean, int64_t rows, int64_t channels, float* g,
                              const GradSums& sums) {
  const QuantLanes<D> lanes(D(), quant);
  Vf inside = hn::Zero(D()), below = inside, above = inside;
  ForEachTile(rows, channels, [&](Lane lane, int64_t c, int64_t row, int64_t end) HWY_ATTR {
    const Vf scale = lane.load(u.scale + c), shift = lane.load(u.shift + c),
             center = lane.load(mean + c);
    Vf s = lane.load(sums.sum + c), p = lane.load(sums.product + c);
    for (int64_t i = row * channels + c; i < end * channels; i += channels) {
      const Vf x = lane.load(u.x + i);
      const Vf v = PreActivation<kResidual>(lane, u, x, scale, shift, i);
      const Vf rest = Q::template Grad<true>(lane.d, lanes, f.Value(lane.d, v), lane.load(dy + i),
                                             inside, below, above);
      const Vf grad = hn::Mul(rest, f.Slope(lane.d, v));
      if (g) lane.store(grad, g + i);
      s = hn::Add(s, grad);
      p = hn::MulAdd(grad, hn::Sub(x, center), p);
    }
    lane.store(s, sums.sum + c);
    lane.store(p, sums.product + c);
  });
  const auto total = [](Vf v) HWY_ATTR {
    return static_cast<double>(hn::GetLane(hn::SumOfLanes(D(), v)));
  };
  *sums.quant = {total(inside), total(below), total(above)};
}

void Normalize(const Affine& u, const Finish& p, int64_t rows, int64_t channels, float* y) {
  WithFinish(p, [&](auto f) HWY_ATTR {
    if (u.residual) return NormalizeWith<true>(u, f, rows, channels, y);
    NormalizeWith<false>(u, f, rows, channels, y);
  });
}

void NormalizeGradSums(const Affine& u, const Finish& p, const float* dy, const float* mean,
                       int64_t rows, int64_t channels, float* g, const GradSums& sums) {
  std::fill(sums.sum, sums.sum + channels, 0.0f);
  std::fill(sums.product, sums.product + channels, 0.0f);
  if (p.quant && sums.quant) {
    WithFunctionBeforeQuantizer(p, [&](auto f, auto q) HWY_ATTR {
      if (u.residual)
        return QuantGradSums<true>(u, f, q, *p.quant, dy, mean, rows, channels, g, sums);
      QuantGradSums<false>(u, f, q, *p.quant, dy, mean, rows, channels, g, sums);
    });
    return;
  }
  WithFinish(p, [&](auto f) HWY_ATTR {
    if (u.residual) return GradSumsWith<true>(u, f, dy, mean, rows, channels, g, sums);
    GradSumsWith<false>(u, f, dy, mean, rows, channels, g, sums);
  });
}

void NormalizeGradInput(const Affine& u, const Finish& p, const float* dy, const InputGrad& grad,
                        int64_t rows, int64_t channels, float* dx) {
  WithFinish(p, [&](auto f) HWY_ATTR {
    if (u.residual) return GradInputWith<true>(u, f, dy, grad, rows, channels, dx);
    GradInputWith<false>(u, f, dy, grad, rows, channels, dx);
  });
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(MomentsOf);
HWY_EXPORT(Normalize);
HWY_EXPORT(NormalizeGradSums);
HWY_EXPORT(NormalizeGradInput);

void channel_moments(const float* x, const float* origin, int64_t rows, int64_t channels,
                     const ChannelMoments& out) noexcept {
  HWY_DYNAMIC_DISPATCH(MomentsOf)(x, origin, rows, channels, out);
}

void normalize(const Affine& u, const Finish& f, int64_t rows, int64_t channels,
               float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(Normalize)(u, f, rows, channels, y);
}

void normalize_grad_sums(const Affine& u, const Finish& f, const float* dy, const float* mean,
                         int64_t rows, int64_t channels, float* g, const GradSums& sums) noexcept {
  HWY_DYNAMIC_DISPATCH(NormalizeGradSums)(u, f, dy, mean, rows, channels, g, sums);
}

void normalize_grad_input(const Affine& u, const Finish& f, const float* dy, const InputGrad& grad,
                          int64_t rows, int64_t channels, float* dx) noexcept {
  HWY_DYNAMIC_DISPATCH(NormalizeGradInput)(u, f, dy, grad, rows, channels, dx);
}

bool Finish::may_quantize(const Pointwise& f) {
  return f.kind == Pointwise::Kind::identity || f.kind == Pointwise::Kind::relu ||
         f.kind == Pointwise::Kind::relu6;
}

}  // namespace pare::kernels
#endif
