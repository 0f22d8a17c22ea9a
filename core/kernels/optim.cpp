#include "core/kernels/highway.h"
//
#include "core/kernels/optim.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/optim.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

using Floats = hn::ScalableTag<float>;
using Vec = hn::Vec<Floats>;

/// f(load, store, i) for each vector: load(p) and store(v, p) move the lanes at p + i that exist.
template <class F>
HWY_INLINE void Walk(int64_t n, F f) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    f([&](const float* p) HWY_ATTR { return hn::LoadU(d, p + i); },
      [&](Vec v, float* p) HWY_ATTR { hn::StoreU(v, d, p + i); });
  }
  if (i == n) return;
  const size_t rest = static_cast<size_t>(n - i);
  f([&](const float* p) HWY_ATTR { return LoadTail(d, p + i, rest); },
    [&](Vec v, float* p) HWY_ATTR { StoreTail(v, d, p + i, rest); });
}

void PlainSgd(const SgdStep& s, float* p, const float* g, int64_t n) {
  const Floats d;
  const Vec decay = hn::Set(d, s.decay), lr = hn::Set(d, s.lr);
  Map(
      d, p, n,
      [&](Vec w, Vec dw) HWY_ATTR { return hn::NegMulAdd(lr, hn::MulAdd(decay, w, dw), w); }, p, g);
}

template <bool kNesterov>
void MomentumSgd(const SgdStep& s, float* p, const float* g, float* v, int64_t n) {
  const Floats d;
  const Vec decay = hn::Set(d, s.decay), lr = hn::Set(d, s.lr), momentum = hn::Set(d, s.momentum);
  const Vec keep = hn::Set(d, s.keep), take = hn::Set(d, s.take);
  Walk(n, [&](auto load, auto store) HWY_ATTR {
    const Vec w = load(p);
    const Vec dw = hn::MulAdd(decay, w, load(g));
    const Vec velocity = hn::MulAdd(keep, load(v), hn::Mul(take, dw));
    const Vec step = kNesterov ? hn::MulAdd(momentum, velocity, dw) : velocity;
    store(velocity, v);
    store(hn::NegMulAdd(lr, step, w), p);
  });
}

void Sgd(const SgdStep& s, float* p, const float* g, float* v, int64_t n) {
  if (!v) return PlainSgd(s, p, g, n);
  s.nesterov ? MomentumSgd<true>(s, p, g, v, n) : MomentumSgd<false>(s, p, g, v, n);
}

void Adam(const AdamStep& s, float* p, const float* g, float* m, float* v, int64_t n) {
  const Floats d;
  const Vec shrink = hn::Set(d, s.shrink), decay = hn::Set(d, s.decay);
  const Vec take1 = hn::Set(d, s.take1), keep2 = hn::Set(d, s.keep2), take2 = hn::Set(d, s.take2);
  const Vec rate = hn::Set(d, s.rate), correction = hn::Set(d, s.correction);
  const Vec eps = hn::Set(d, s.eps);
  Walk(n, [&](auto load, auto store) HWY_ATTR {
    const Vec w = hn::Mul(shrink, load(p));
    const Vec dw = hn::MulAdd(decay, w, load(g));
    const Vec m0 = load(m);
    const Vec mean = hn::MulAdd(take1, hn::Sub(dw, m0), m0);
    const Vec square = hn::MulAdd(keep2, load(v), hn::Mul(take2, hn::Mul(dw, dw)));
    const Vec width = hn::Add(hn::Div(hn::Sqrt(square), correction), eps);
    store(mean, m);
    store(square, v);
    store(hn::NegMulAdd(rate, hn::Div(mean, width), w), p);
  });
}

void Lerp(float t, const float* x, float* y, int64_t n) {
  const Floats d;
  const Vec step = hn::Set(d, t);
  Map(
      d, y, n, [&](Vec to, Vec from) HWY_ATTR { return hn::MulAdd(step, hn::Sub(to, from), from); },
      x, y);
}

float SumSquares(const float* x, int64_t n) {
  const Floats d;
  Vec sum = hn::Zero(d);
  Walk(n, [&](auto load, auto) HWY_ATTR {
    const Vec v = load(x);
    sum = hn::MulAdd(v, v, sum);
  });
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(Sgd);
HWY_EXPORT(Adam);
HWY_EXPORT(Lerp);
HWY_EXPORT(SumSquares);

void sgd(const SgdStep& s, float* p, const float* g, float* v, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Sgd)(s, p, g, v, n);
}

void adam(const AdamStep& s, float* p, const float* g, float* m, float* v, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Adam)(s, p, g, m, v, n);
}

void lerp(float t, const float* x, float* y, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Lerp)(t, x, y, n);
}

float sum_squares(const float* x, int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(SumSquares)(x, n);
}

}  // namespace pare::kernels
#endif
