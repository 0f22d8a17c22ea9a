#include "core/kernels/quant_quads.h"

#include "core/kernels/highway.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/quant_quads.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/fake_quant-inl.h"
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using Vf = hn::Vec<D>;

/// n values to n bytes.
template <Rounding kRounding>
bool QuantBytes(const FakeQuant& q, float shift, const float* x, int64_t n, uint8_t* to) {
  const D d;
  const hn::Rebind<uint8_t, D> db;
  const QuantLanes<D> lanes(d, q);
  const Vf first = hn::Set(d, shift);
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  auto inside = hn::Eq(first, first);
  const auto bytes = [&](Vf v) HWY_ATTR {
    const Vf code = Quantizing<kRounding>::Clamped(d, lanes, v);
    inside = hn::And(inside, hn::Eq(code, code));
    return hn::DemoteTo(db, hn::NearestInt(hn::Add(code, first)));
  };
  int64_t i = 0;
  for (; i + step <= n; i += step) hn::StoreU(bytes(hn::LoadU(d, x + i)), db, to + i);
  if (i < n) {
    HWY_ALIGN uint8_t last[HWY_LANES(float)];
    hn::StoreU(bytes(LoadTail(d, x + i, static_cast<size_t>(n - i))), db, last);
    for (int64_t k = i; k < n; ++k) to[k] = last[k - i];
  }
  return hn::AllTrue(d, inside);
}

bool QuantQuads(const FakeQuant& q, const ByteCode& code, const float* x, int64_t pixels,
                int64_t channels, float* to) {
  const auto run = q.rounding == Rounding::half_even ? QuantBytes<Rounding::half_even>
                                                     : QuantBytes<Rounding::half_away>;
  const float shift = -q.zero - static_cast<float>(code.lo);
  uint8_t* bytes = reinterpret_cast<uint8_t*>(to);
  if (channels % 4 == 0) return run(q, shift, x, pixels * channels, bytes);
  const int64_t width = 4 * quads(channels);
  bool inside = true;
  for (int64_t p = 0; p < pixels; ++p, x += channels, bytes += width) {
    inside = run(q, shift, x, channels, bytes) && inside;
    for (int64_t k = channels; k < width; ++k) bytes[k] = 0;
  }
  return inside;
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {
HWY_EXPORT(QuantQuads);
bool quant_quads(const FakeQuant& q, const ByteCode& code, const float* x, int64_t pixels,
                 int64_t channels, float* to) noexcept {
  return HWY_DYNAMIC_DISPATCH(QuantQuads)(q, code, x, pixels, channels, to);
}
}  // namespace pare::kernels
#endif
