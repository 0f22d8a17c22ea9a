#pragma once
// Quads of bytes. VPDPBUSD adds four products of an unsigned and a signed byte to each int32 sum,
// so operands are laid out as words of four neighbours along the reduction. The words travel as
// floats, which nothing but the tile kernels interprets.
//
//   values of x are step i,  0 <= i - lo <= 255:   the byte is i - lo, padding is the byte of 0
//   values of w are step_n j,  |j| <= 128:         the byte is j
//   sum i j = sum (i - lo) j + lo sum j

#include <cstdint>

namespace pare {
struct FakeQuant;
}

namespace pare::kernels {

inline int64_t quads(int64_t n) { return (n + 3) / 4; }

/// How values of x become bytes.
struct ByteCode {
  float inverse;  // 1 / step
  int lo, hi;     // of i

  uint8_t zero() const { return static_cast<uint8_t>(-lo); }
};

/// to[p][k] = the bytes of x[p][4k .. 4k + 3], x [pixels, channels], to [pixels, quads(channels)];
/// a last word is filled up with zeros. False if a value is not on the grid, a NaN for example.
bool byte_quads(const ByteCode& code, const float* x, int64_t pixels, int64_t channels,
                float* to) noexcept;
/// The same of fake_quant(q, x), without the numbers in between. The codes of q, less its zero
/// point, lie within code.lo .. code.hi. False if there is a NaN.
bool quant_quads(const FakeQuant& q, const ByteCode& code, const float* x, int64_t pixels,
                 int64_t channels, float* to) noexcept;

}  // namespace pare::kernels
