// Tiles of integers with VPDPBUSD: each 32-bit lane gains four products of an unsigned byte of x
// with a signed byte of w. Four times the products of an FMA, and exact.
#if defined(__x86_64__)
#include <immintrin.h>

#include "core/kernels/conv_tile.h"

namespace pare::kernels {
namespace quad_avx512vnni {
namespace {

#include "core/kernels/conv_vector_avx512-inl.h"

struct V : FloatVector {
  static Reg fma(Reg a, Reg b, Reg c) {
    return _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(c), _mm512_castps_si512(a),
                                                   _mm512_castps_si512(b)));
  }
  typedef int Ints __attribute__((vector_size(64)));
  static Reg value(Reg acc, const GatherTile& t, int n) {
    const Reg sum = __builtin_convertvector(reinterpret_cast<Ints>(acc), Reg);
    return _mm512_fmadd_ps(sum, load(t.scale + n * kLanes), load(t.shift + n * kLanes));
  }
};
constexpr int kVectors = 3;

#include "core/kernels/conv_tile-inl.h"

}  // namespace
}  // namespace quad_avx512vnni

const GatherKernels kQuadAvx512Vnni{quad_avx512vnni::V::kLanes, quad_avx512vnni::kMaxRows,
                                    quad_avx512vnni::kVectors, quad_avx512vnni::gather};

}  // namespace pare::kernels
#endif
