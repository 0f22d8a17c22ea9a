// The same with VPOPCNTDQ, which counts bits in one instruction: tiles of 8 pixels x 48 filters; 24
// of 32 registers accumulate.
#if defined(__x86_64__)
#include <immintrin.h>

#include <bit>
#include <cstring>

#include "deploy/runtime/kernels/tile.h"

namespace pare::runtime::kernels {
namespace avx512_popcount {
namespace {

constexpr bool kPopcount = true;
#include "deploy/runtime/kernels/tile_avx512-inl.h"
constexpr int kPanels = 3, kRows[] = {16, 8, 8}, kSignRows = 8;
#include "deploy/runtime/kernels/tile-inl.h"
//
#include "deploy/runtime/kernels/counts-inl.h"

constexpr Kernels make_counting(const char* name) {
  Kernels k = make(name);
  k.signs = counted_signs;
  return k;
}

}  // namespace
}  // namespace avx512_popcount

const Kernels kAvx512Popcount = avx512_popcount::make_counting("avx512+popcnt");

}  // namespace pare::runtime::kernels
#endif
