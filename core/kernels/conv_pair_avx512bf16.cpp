// bfloat16 tiles with VDPBF16PS.
#if defined(__x86_64__)
#include <immintrin.h>

#include "core/kernels/conv_tile.h"

namespace pare::kernels {
namespace pair_avx512bf16 {
namespace {

#include "core/kernels/conv_vector_avx512-inl.h"

struct V : FloatVector {
  static constexpr int kTerms = 2;
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_dpbf16_ps(c, pairs(a), pairs(b)); }
  static __m512bh pairs(Reg v) {
    __m512bh words;
    __builtin_memcpy(&words, &v, sizeof words);
    return words;
  }
};
constexpr int kVectors = 3;

#include "core/kernels/conv_tile-inl.h"
#include "core/kernels/conv_tile_outer-inl.h"
#include "core/kernels/conv_tile_product-inl.h"

}  // namespace
}  // namespace pair_avx512bf16

const TileKernels kPairAvx512Bf16{{pair_avx512bf16::V::kLanes, pair_avx512bf16::kMaxRows,
                                   pair_avx512bf16::kVectors, pair_avx512bf16::gather},
                                  pair_avx512bf16::outer,
                                  pair_avx512bf16::copy_columns,
                                  pair_avx512bf16::copy_rows,
                                  pair_avx512bf16::product,
                                  pair_avx512bf16::spin};

}  // namespace pare::kernels
#endif
