// AVX-512: tiles of 8 x 48, 12 x 32 and 12 x 16; at most 24 of 32 registers accumulate.
#if defined(__x86_64__)
#include <immintrin.h>

#include "core/kernels/conv_tile.h"

namespace pare::kernels {
namespace avx512 {
namespace {

#include "core/kernels/conv_vector_avx512-inl.h"
using V = FloatVector;
constexpr int kVectors = 3;

#include "core/kernels/conv_tile-inl.h"
#include "core/kernels/conv_tile_outer-inl.h"
#include "core/kernels/conv_tile_product-inl.h"

}  // namespace
}  // namespace avx512

const TileKernels kTileAvx512{
    {avx512::V::kLanes, avx512::kMaxRows, avx512::kVectors, avx512::gather},
    avx512::outer,
    avx512::copy_columns,
    avx512::copy_rows,
    avx512::product,
    avx512::spin};

}  // namespace pare::kernels
#endif
