// AVX2 + FMA: tiles of 6 x 16 and 8 x 8; at most 12 of 16 registers accumulate.
#if defined(__x86_64__)
#include <immintrin.h>

#include "core/kernels/conv_tile.h"

namespace pare::kernels {
namespace avx2 {
namespace {

#include "core/kernels/conv_vector_avx2-inl.h"
using V = FloatVector;
constexpr int kVectors = 2;

#include "core/kernels/conv_tile-inl.h"
#include "core/kernels/conv_tile_outer-inl.h"
#include "core/kernels/conv_tile_product-inl.h"

}  // namespace
}  // namespace avx2

const TileKernels kTileAvx2{{avx2::V::kLanes, avx2::kMaxRows, avx2::kVectors, avx2::gather},
                            avx2::outer,
                            avx2::copy_columns,
                            avx2::copy_rows,
                            avx2::product,
                            avx2::spin};

}  // namespace pare::kernels
#endif
