// bfloat16 tiles by float32 instructions, see conv_pair_avx512.cpp.
#if defined(__x86_64__)
#include <immintrin.h>

#include "core/kernels/conv_tile.h"

namespace pare::kernels {
namespace pair_avx2 {
namespace {

#include "core/kernels/conv_vector_avx2-inl.h"

struct V : FloatVector {
  static constexpr int kTerms = 2;
  static constexpr int rows(int vectors) { return vectors == 2 ? 4 : 8; }
  static Reg fma(Reg a, Reg b, Reg c) {
    c = _mm256_fmadd_ps(second(a), second(b), c);
    return _mm256_fmadd_ps(first(a), first(b), c);
  }
  static Reg first(Reg v) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(v), 16));
  }
  static Reg second(Reg v) {
    const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_castps_si256(v), high));
  }
};
constexpr int kVectors = 2;

#include "core/kernels/conv_tile-inl.h"
#include "core/kernels/conv_tile_outer-inl.h"
#include "core/kernels/conv_tile_product-inl.h"

}  // namespace
}  // namespace pair_avx2

const TileKernels kPairAvx2{
    {pair_avx2::V::kLanes, pair_avx2::kMaxRows, pair_avx2::kVectors, pair_avx2::gather},
    pair_avx2::outer,
    pair_avx2::copy_columns,
    pair_avx2::copy_rows,
    pair_avx2::product,
    pair_avx2::spin};

}  // namespace pare::kernels
#endif
