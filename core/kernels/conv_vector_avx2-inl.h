// A vector of floats for the tiles of conv_tile-inl.h. Included inside the namespace of an ISA
// file, which includes what it needs.

struct FloatVector {
  using Reg = __m256;
  static constexpr int kLanes = 8, kTerms = 1;
  static constexpr int rows(int vectors) { return vectors == 2 ? 6 : 8; }
  static Reg load(const float* p) { return _mm256_loadu_ps(p); }
  static Reg load_part(const float* p, int n) { return _mm256_maskload_ps(p, mask(n)); }
  static Reg set1(float x) { return _mm256_set1_ps(x); }
  static Reg value(Reg sum, const GatherTile&, int) { return sum; }  // of vector n
  static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  static void store(float* p, Reg v) { _mm256_storeu_ps(p, v); }
  static void store_part(float* p, Reg v, int n) { _mm256_maskstore_ps(p, mask(n), v); }
  static __m256i mask(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};
