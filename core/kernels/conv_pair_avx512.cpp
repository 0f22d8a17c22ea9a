// bfloat16 tiles without VDPBF16PS: each pair is taken apart and multiplied in float32, where the
// product of two bfloat16 numbers is exact.
#if defined(__x86_64__)
#include <immintrin.h>

#include "core/kernels/conv_tile.h"

namespace pare::kernels {
namespace pair_avx512 {
namespace {

#include "core/kernels/conv_vector_avx512-inl.h"

struct V : FloatVector {
  static constexpr int kTerms = 2;
  /// The halves of the operands need registers too.
  static constexpr int rows(int vectors) { return vectors == 3 ? 6 : vectors == 2 ? 9 : 12; }
  static Reg fma(Reg a, Reg b, Reg c) {
    c = _mm512_fmadd_ps(second(a), second(b), c);
    return _mm512_fmadd_ps(first(a), first(b), c);
  }
  typedef unsigned Bits __attribute__((vector_size(64)));
  static Reg first(Reg v) { return reinterpret_cast<Reg>(reinterpret_cast<Bits>(v) << 16); }
  static Reg second(Reg v) {
    return reinterpret_cast<Reg>(reinterpret_cast<Bits>(v) & 0xffff0000u);
  }
};
constexpr int kVectors = 3;

#include "core/kernels/conv_tile-inl.h"
#include "core/kernels/conv_tile_outer-inl.h"
#include "core/kernels/conv_tile_product-inl.h"

}  // namespace
}  // namespace pair_avx512

const TileKernels kPairAvx512{
    {pair_avx512::V::kLanes, pair_avx512::kMaxRows, pair_avx512::kVectors, pair_avx512::gather},
    pair_avx512::outer,
    pair_avx512::copy_columns,
    pair_avx512::copy_rows,
    pair_avx512::product,
    pair_avx512::spin};

}  // namespace pare::kernels
#endif
