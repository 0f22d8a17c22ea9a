#pragma once
// Pairs of bfloat16 numbers. VDPBF16PS adds two products to each float32 sum, so operands are laid
// out as words of two neighbours along the reduction: the first in the low half. The words travel
// as floats, which nothing but the tile kernels interprets.
//
// Rounding is to nearest, ties to even; NaN stays NaN, and denormals may become zeros.

#include <cstdint>
#include <cstring>

namespace pare::kernels {

inline int64_t pairs(int64_t n) { return (n + 1) / 2; }

/// The bits of x as bfloat16.
inline uint32_t to_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return bits >> 16 | 0x40u;
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

/// One word.
inline float bf16_pair(float first, float second) {
  const uint32_t bits = to_bf16(first) | to_bf16(second) << 16;
  float word;
  std::memcpy(&word, &bits, sizeof word);
  return word;
}

/// to[p][k] = (x[p][2k], x[p][2k + 1]) for x [pixels, channels], to [pixels, pairs(channels)]; an
/// odd last channel is paired with zero.
void bf16_channel_pairs(const float* x, int64_t pixels, int64_t channels, float* to) noexcept;

/// to[i] = (first[i], second[i]), i < n; second may be null: zeros.
void bf16_row_pairs(const float* first, const float* second, int64_t n, float* to) noexcept;

}  // namespace pare::kernels
