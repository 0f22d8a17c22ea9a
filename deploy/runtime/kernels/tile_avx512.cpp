// AVX-512 with VNNI: tiles of 8 pixels x 48 filters; 24 of 32 registers accumulate.
#if defined(__x86_64__)
#include <immintrin.h>

#include "deploy/runtime/kernels/tile.h"

namespace pare::runtime::kernels {
namespace avx512 {
namespace {

constexpr bool kPopcount = false;
#include "deploy/runtime/kernels/tile_avx512-inl.h"
constexpr int kRows = 8, kPanels = 3;
#include "deploy/runtime/kernels/tile-inl.h"

}  // namespace
}  // namespace avx512

const Kernels kAvx512 = avx512::make("avx512");

}  // namespace pare::runtime::kernels
#endif
