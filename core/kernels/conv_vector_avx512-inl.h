// A vector of floats for the tiles of conv_tile-inl.h. Included inside the namespace of an ISA
// file, which includes what it needs.

struct FloatVector {
  using Reg = __m512;
  static constexpr int kLanes = 16, kTerms = 1;  // kTerms: products of one fma
  /// No more than 12: the pointers of the rows must fit the scalar registers.
  static constexpr int rows(int vectors) { return vectors == 3 ? 8 : 12; }
  static Reg load(const float* p) { return _mm512_loadu_ps(p); }
  static Reg load_part(const float* p, int n) { return _mm512_maskz_loadu_ps(mask(n), p); }
  static Reg set1(float x) { return _mm512_set1_ps(x); }
  static Reg value(Reg sum, const GatherTile&, int) { return sum; }  // of vector n
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static void store(float* p, Reg v) { _mm512_storeu_ps(p, v); }
  static void store_part(float* p, Reg v, int n) { _mm512_mask_storeu_ps(p, mask(n), v); }
  static __mmask16 mask(int n) { return static_cast<__mmask16>((1u << n) - 1u); }
};
