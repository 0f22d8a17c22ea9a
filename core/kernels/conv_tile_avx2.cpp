// AVX2 + FMA: tiles of 6 x 16 and 8 x 8; at most 12 of 16 registers accumulate.
#if defined(__x86_64__)
#include <immintrin.h>

#include "core/kernels/conv_tile.h"

namespace pare::kernels {
namespace avx2 {
namespace {

struct V {
  using Reg = __m256;
  static constexpr int kLanes = 8;
  static constexpr int rows(int vectors) { return vectors == 2 ? 6 : 8; }
  static Reg load(const float* p) { return _mm256_loadu_ps(p); }
  static Reg load_part(const float* p, int n) { return _mm256_maskload_ps(p, mask(n)); }
  static Reg set1(float x) { return _mm256_set1_ps(x); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  static void store(float* p, Reg v) { _mm256_storeu_ps(p, v); }
  static void store_part(float* p, Reg v, int n) { _mm256_maskstore_ps(p, mask(n), v); }
  static __m256i mask(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};
constexpr int kVectors = 2;

#include "core/kernels/conv_tile-inl.h"

}  // namespace
}  // namespace avx2

const TileKernels kTileAvx2{avx2::V::kLanes, avx2::kMaxRows, avx2::kVectors,
                            avx2::gather,    avx2::outer,    avx2::spin};

}  // namespace pare::kernels
#endif
