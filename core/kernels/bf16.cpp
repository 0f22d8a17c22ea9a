#include "core/kernels/bf16.h"

#include "core/kernels/highway.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/bf16.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

using F = hn::ScalableTag<float>;
using U = hn::RebindToUnsigned<F>;

/// The rounded number in the high half of each lane; the low half is rubbish.
HWY_INLINE hn::Vec<U> RoundHigh(hn::Vec<F> x) {
  const U u;
  const auto bits = hn::BitCast(u, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u, 1u));
  const auto rounded = hn::Add(hn::Add(bits, hn::Set(u, 0x7fffu)), odd);
  const auto quiet = hn::Or(bits, hn::Set(u, 0x400000u));
  return hn::IfThenElse(hn::RebindMask(u, hn::IsNaN(x)), quiet, rounded);
}

HWY_INLINE hn::Vec<F> Pair(hn::Vec<F> first, hn::Vec<F> second) {
  const auto high = hn::And(RoundHigh(second), hn::Set(U(), 0xffff0000u));
  return hn::BitCast(F(), hn::Or(hn::ShiftRight<16>(RoundHigh(first)), high));
}

/// n words from 2 n numbers.
void PairNeighbours(const float* x, int64_t n, float* to) {
  const F d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::Vec<F> first, second;
    hn::LoadInterleaved2(d, x + 2 * i, first, second);
    hn::StoreU(Pair(first, second), d, to + i);
  }
  for (; i < n; ++i) to[i] = bf16_pair(x[2 * i], x[2 * i + 1]);
}

void ChannelPairs(const float* x, int64_t pixels, int64_t channels, float* to) {
  if (channels % 2 == 0) return PairNeighbours(x, pixels * channels / 2, to);
  const int64_t whole = channels / 2;
  for (int64_t p = 0; p < pixels; ++p, x += channels, to += whole + 1) {
    PairNeighbours(x, whole, to);
    to[whole] = bf16_pair(x[channels - 1], 0.0f);
  }
}

void RowPairs(const float* first, const float* second, int64_t n, float* to) {
  const F d;
  if (second) {
    Map(
        d, to, n, [](auto a, auto b) HWY_ATTR { return Pair(a, b); }, first, second);
  } else {
    Map(
        d, to, n, [](auto a) HWY_ATTR { return Pair(a, hn::Zero(F())); }, first);
  }
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {
HWY_EXPORT(ChannelPairs);
HWY_EXPORT(RowPairs);
void bf16_channel_pairs(const float* x, int64_t pixels, int64_t channels, float* to) noexcept {
  HWY_DYNAMIC_DISPATCH(ChannelPairs)(x, pixels, channels, to);
}
void bf16_row_pairs(const float* first, const float* second, int64_t n, float* to) noexcept {
  HWY_DYNAMIC_DISPATCH(RowPairs)(first, second, n, to);
}
}  // namespace pare::kernels
#endif
