// AVX-512 with VPOPCNTDQ, which counts bits in one instruction: tiles of 8 pixels x 48 filters; 24
// of 32 registers accumulate. Signs only; all else is that of tile_avx512.cpp.
#if defined(__x86_64__)
#include <immintrin.h>

#include <bit>
#include <cstring>

#include "deploy/runtime/kernels/tile.h"

namespace pare::runtime::kernels {
namespace avx512_popcount {
namespace {

constexpr bool kPopcount = true;
constexpr int kPanels = 3, kSignRows = 8;
#include "deploy/runtime/kernels/tile_avx512-inl.h"
#include "deploy/runtime/kernels/words-inl.h"
//
#include "deploy/runtime/kernels/counts-inl.h"

}  // namespace
}  // namespace avx512_popcount

void signs_by_popcount(const Tile& t, int64_t rows, int64_t panels) noexcept {
  avx512_popcount::counted_signs(t, rows, panels);
}

}  // namespace pare::runtime::kernels
#endif
