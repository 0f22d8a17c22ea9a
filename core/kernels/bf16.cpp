#include "core/kernels/bf16.h"

#include <algorithm>

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

/// An odd number of channels: rounded side by side, then pixel by pixel filled up with a zero.
template <class Round>
HWY_INLINE void PairOddChannels(Round round, const float* x, int64_t pixels, int64_t channels,
                                float* to) {
  const F d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int64_t kSome = 512;
  uint16_t halves[kSome];
  const auto pair = [&](const uint16_t* from, int64_t n, float* words) {
    for (int64_t k = 0; k < n; ++k) {
      const uint32_t bits = from[2 * k] | uint32_t{from[2 * k + 1]} << 16;
      std::memcpy(words + k, &bits, sizeof bits);
    }
  };
  const int64_t whole = channels / 2, at_once = kSome / channels;
  for (int64_t first = 0; first < pixels; first += at_once) {
    const int64_t some = std::min(at_once, pixels - first), n = some * channels;
    const float* from = x + first * channels;
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
      hn::StoreU(round.Bits(hn::LoadU(d, from + i)), hn::Rebind<uint16_t, F>(), halves + i);
    }
    for (; i < n; ++i) halves[i] = static_cast<uint16_t>(to_bf16(from[i]));
    for (int64_t p = 0; p < some; ++p, to += whole + 1) {
      pair(halves + p * channels, whole, to);
      const uint32_t last = halves[(p + 1) * channels - 1];
      std::memcpy(to + whole, &last, sizeof last);
    }
  }
}

void ChannelPairs(const float* x, int64_t pixels, int64_t channels, float* to) {
  WithRounding([&](auto round) HWY_ATTR {
    if (channels % 2 == 0) return PairNeighbours(round, x, pixels * channels / 2, to);
    constexpr int64_t kFew = 128;
    if (channels < kFew) return PairOddChannels(round, x, pixels, channels, to);
    for (int64_t p = 0; p < pixels; ++p) {
      const float* from = x + p * channels;
      float* words = to + p * (channels / 2 + 1);
      PairNeighbours(round, from, channels / 2, words);
      words[channels / 2] = bf16_pair(from[channels - 1], 0.0f);
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
