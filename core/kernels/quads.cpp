#include "core/kernels/quads.h"

#include "core/kernels/highway.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/quads.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

/// n values to n bytes.
bool Bytes(const ByteCode& code, const float* x, int64_t n, uint8_t* to) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<uint8_t, decltype(d)> db;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto inverse = hn::Set(d, code.inverse), shift = hn::Set(d, static_cast<float>(-code.lo));
  // Half a step is far more than rounding leaves; NaN fails, too.
  const auto below = hn::Set(d, -0.5f);
  const auto above = hn::Set(d, static_cast<float>(code.hi - code.lo) + 0.5f);
  auto inside = hn::Gt(above, below);
  const auto bytes = [&](auto v) HWY_ATTR {
    const auto t = hn::Add(hn::Mul(v, inverse), shift);
    inside = hn::And(inside, hn::And(hn::Gt(t, below), hn::Lt(t, above)));
    return hn::DemoteTo(db, hn::NearestInt(t));
  };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(bytes(hn::LoadU(d, x + i)), db, to + i);
  if (i < n) {
    HWY_ALIGN uint8_t last[HWY_LANES(float)];
    hn::StoreU(bytes(LoadTail(d, x + i, static_cast<size_t>(n - i))), db, last);
    for (int64_t k = i; k < n; ++k) to[k] = last[k - i];
  }
  return hn::AllTrue(d, inside);
}

bool ByteQuads(const ByteCode& code, const float* x, int64_t pixels, int64_t channels, float* to) {
  uint8_t* bytes = reinterpret_cast<uint8_t*>(to);
  if (channels % 4 == 0) return Bytes(code, x, pixels * channels, bytes);
  const int64_t width = 4 * quads(channels);
  bool inside = true;
  for (int64_t p = 0; p < pixels; ++p, x += channels, bytes += width) {
    inside = Bytes(code, x, channels, bytes) && inside;
    for (int64_t k = channels; k < width; ++k) bytes[k] = 0;
  }
  return inside;
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
}  // namespace pare::kernels
#endif
