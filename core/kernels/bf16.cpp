#include "core/kernels/bf16.h"

#include "core/kernels/highway.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/bf16.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/bf16-inl.h"
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

using F = hn::ScalableTag<float>;

/// n words from 2 n numbers.
template <class Round>
HWY_INLINE void PairNeighbours(Round round, const float* x, int64_t n, float* to) {
  const F d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(round.Neighbours(x + 2 * i), d, to + i);
  for (; i < n; ++i) to[i] = bf16_pair(x[2 * i], x[2 * i + 1]);
}

void ChannelPairs(const float* x, int64_t pixels, int64_t channels, float* to) {
  const int64_t whole = channels / 2;
  WithRounding([&](auto round) HWY_ATTR {
    if (channels % 2 == 0) return PairNeighbours(round, x, pixels * whole, to);
    for (int64_t p = 0; p < pixels; ++p) {
      const float* from = x + p * channels;
      float* words = to + p * (whole + 1);
      PairNeighbours(round, from, whole, words);
      words[whole] = bf16_pair(from[channels - 1], 0.0f);
    }
  });
}

void RowPairs(const float* first, const float* second, int64_t n, float* to) {
  const F d;
  WithRounding([&](auto round) HWY_ATTR {
    if (second) {
      Map(
          d, to, n, [&](auto a, auto b) HWY_ATTR { return round.Words(a, b); }, first, second);
    } else {
      Map(
          d, to, n, [&](auto a) HWY_ATTR { return round.Words(a, hn::Zero(F())); }, first);
    }
  });
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
