#include "core/kernels/highway.h"
//
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/kernels/philox.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/philox.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

// One block (four numbers) per 64-bit lane; each word sits in the lower half of its lane.
using D64 = hn::ScalableTag<uint64_t>;
using V64 = hn::Vec<D64>;

/// 32 x 32 -> 64 bits
HWY_INLINE V64 MulWide(V64 a, V64 b) {
#if HWY_TARGET == HWY_SCALAR
  return hn::Mul(a, b);
#else
  const hn::Repartition<uint32_t, D64> d32;
  return hn::MulEven(hn::BitCast(d32, a), hn::BitCast(d32, b));
#endif
}

/// The blocks first, first + 1, ... of a stream, one per lane: 4 Lanes(D64) numbers in order.
HWY_INLINE void Blocks(uint64_t key, uint64_t first, uint64_t* out) {
  const D64 d;
  const V64 mul0 = hn::Set(d, 0xD2511F53u), mul1 = hn::Set(d, 0xCD9E8D57u);
  const V64 low = hn::Set(d, 0xFFFFFFFFu);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  const V64 counter = hn::Iota(d, first);
  V64 c0 = hn::And(counter, low), c1 = hn::ShiftRight<32>(counter), c2 = hn::Zero(d), c3 = c2;
  for (int round = 0; round < 10; ++round) {
    const V64 p0 = MulWide(mul0, c0), p1 = MulWide(mul1, c2);
    c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), hn::Set(d, k0));
    c1 = hn::And(p1, low);
    c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), hn::Set(d, k1));
    c3 = hn::And(p0, low);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  hn::StoreInterleaved2(hn::Or(c0, hn::ShiftLeft<32>(c1)), hn::Or(c2, hn::ShiftLeft<32>(c3)), d,
                        out);
}

void Numbers(uint64_t key, uint64_t counter, uint32_t* out, int64_t n) {
  HWY_ALIGN uint64_t group[2 * HWY_LANES(uint64_t)];
  const int64_t size = 4 * static_cast<int64_t>(hn::Lanes(D64()));
  uint64_t block = counter / 4;
  int64_t skip = static_cast<int64_t>(counter % 4);
  for (int64_t i = 0; i < n; block += static_cast<uint64_t>(size / 4), skip = 0) {
    Blocks(key, block, group);
    const int64_t count = std::min(size - skip, n - i);
    std::memcpy(out + i, reinterpret_cast<const uint32_t*>(group) + skip,
                static_cast<size_t>(count) * sizeof(uint32_t));
    i += count;
  }
}

void Dropout(const float* x, float p, uint64_t key, uint64_t counter, float* y, int64_t n) {
  constexpr int64_t kChunk = 1024;
  HWY_ALIGN uint32_t numbers[kChunk];
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  // u = (number >> 8) / 2^24 < p, in integers.
  const auto limit = hn::Set(di, static_cast<int32_t>(std::ceil(p * 0x1p24f)));
  const auto scale = hn::Set(d, 1.0f / (1.0f - p));
  for (int64_t start = 0; start < n; start += kChunk) {
    const int64_t count = std::min(kChunk, n - start);
    Numbers(key, counter + static_cast<uint64_t>(start), numbers, count);
    for (int64_t i = 0; i < count; i += lanes) {
      const size_t width = static_cast<size_t>(std::min(lanes, count - i));
      const hn::RebindToUnsigned<decltype(d)> du;
      const auto u = hn::BitCast(di, hn::ShiftRight<8>(hn::Load(du, numbers + i)));
      const auto v = hn::Mul(LoadFirst(d, x + start + i, width), scale);
      const auto kept = hn::IfThenZeroElse(hn::RebindMask(d, hn::Lt(u, limit)), v);
      StoreFirst(kept, d, y + start + i, width);
    }
  }
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(Numbers);
HWY_EXPORT(Dropout);

void philox(uint64_t key, uint64_t counter, uint32_t* out, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Numbers)(key, counter, out, n);
}

void dropout(const float* x, float p, uint64_t key, uint64_t counter, float* y,
             int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Dropout)(x, p, key, counter, y, n);
}

}  // namespace pare::kernels
#endif
