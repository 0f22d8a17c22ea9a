// AVX-512 with VNNI: tiles of 8 pixels x 48 filters, 24 of 32 registers accumulate, or 16 x 16.
#if defined(__x86_64__)
#include <immintrin.h>

#include <bit>
#include <cstring>

#include "deploy/runtime/kernels/tile.h"

namespace pare::runtime::kernels {
namespace avx512 {
namespace {

constexpr bool kPopcount = false;
#include "deploy/runtime/kernels/tile_avx512-inl.h"
constexpr int kPanels = 3, kRows[] = {16, 8, 8}, kSignRows = 8;
#include "deploy/runtime/kernels/tile-inl.h"

}  // namespace
}  // namespace avx512

const Kernels kAvx512 = avx512::make("avx512");

}  // namespace pare::runtime::kernels
#endif
