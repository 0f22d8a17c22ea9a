#include "core/kernels/quads.h"

#include "core/kernels/highway.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/quads.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/fake_quant-inl.h"
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

using D = hn::ScalableTag<float>;
using Vf = hn::Vec<D>;

/// A number of less than 2^22 in size becomes whole by adding this, and its low byte is the sum's.
/// Cheaper than a conversion to integers.
constexpr float kMagic = 1.5f * (1 << 23);

/// n values to n bytes: the low bytes of codes(x, inside), numbers from 0 to 255 that kMagic was
/// added to; the lanes of `inside` that are not become false.
template <class F>
HWY_INLINE bool Bytes(const float* x, int64_t n, uint8_t* to, F codes) {
  const D d;
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint8_t, D> db;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto inside = hn::Eq(hn::Zero(d), hn::Zero(d));
  const auto bytes = [&](Vf v)
                         HWY_ATTR { return hn::TruncateTo(db, hn::BitCast(du, codes(v, inside))); };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(bytes(hn::LoadU(d, x + i)), db, to + i);
  if (i < n) {
    HWY_ALIGN uint8_t last[HWY_LANES(float)];
    hn::StoreU(bytes(LoadTail(d, x + i, static_cast<size_t>(n - i))), db, last);
    for (int64_t k = i; k < n; ++k) to[k] = last[k - i];
  }
  return hn::AllTrue(d, inside);
}

/// Pixel by pixel if their channels have to be filled up.
template <class F>
HWY_INLINE bool Quads(const float* x, int64_t pixels, int64_t channels, float* to, F codes) {
  uint8_t* bytes = reinterpret_cast<uint8_t*>(to);
  if (channels % 4 == 0) return Bytes(x, pixels * channels, bytes, codes);
  const int64_t width = 4 * quads(channels);
  bool inside = true;
  for (int64_t p = 0; p < pixels; ++p, x += channels, bytes += width) {
    inside = Bytes(x, channels, bytes, codes) && inside;
    for (int64_t k = channels; k < width; ++k) bytes[k] = 0;
  }
  return inside;
}

bool ByteQuads(const ByteCode& code, const float* x, int64_t pixels, int64_t channels, float* to) {
  const D d;
  const Vf inverse = hn::Set(d, code.inverse), shift = hn::Set(d, static_cast<float>(-code.lo));
  // Half a step is far more than rounding leaves; NaN fails, too.
  const Vf below = hn::Set(d, -0.5f),
           above = hn::Set(d, static_cast<float>(code.hi - code.lo) + 0.5f);
  return Quads(x, pixels, channels, to, [&](Vf v, auto& inside) HWY_ATTR {
    const Vf t = hn::Add(hn::Mul(v, inverse), shift);
    inside = hn::And(inside, hn::And(hn::Gt(t, below), hn::Lt(t, above)));
    return hn::Add(t, hn::Set(d, kMagic));
  });
}

bool QuantQuads(const FakeQuant& q, const ByteCode& code, const float* x, int64_t pixels,
                int64_t channels, float* to) {
  const D d;
  QuantLanes<D> lanes(d, q);
  // Codes become bytes by one addition, of whole numbers: nothing is rounded.
  lanes.after = hn::Add(lanes.after, hn::Set(d, kMagic - q.zero - static_cast<float>(code.lo)));
  return WithQuantizing(q.rounding, [&](auto f) HWY_ATTR {
    return Quads(x, pixels, channels, to, [&](Vf v, auto& inside) HWY_ATTR {
      const Vf u = f.Clamped(d, lanes, v);
      inside = hn::And(inside, hn::Eq(u, u));
      return u;
    });
  });
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {
HWY_EXPORT(ByteQuads);
bool byte_quads(const ByteCode& code, const float* x, int64_t pixels, int64_t channels,
                float* to) noexcept {
  return HWY_DYNAMIC_DISPATCH(ByteQuads)(code, x, pixels, channels, to);
}

HWY_EXPORT(QuantQuads);
bool quant_quads(const FakeQuant& q, const ByteCode& code, const float* x, int64_t pixels,
                 int64_t channels, float* to) noexcept {
  return HWY_DYNAMIC_DISPATCH(QuantQuads)(q, code, x, pixels, channels, to);
}
}  // namespace pare::kernels
#endif
