// The vectors of both AVX-512 files; kPopcount says which.

struct V {
  static constexpr int kLanes = 16;
  static constexpr bool kFinishes = true;
  using Bits = __m512i;

  struct Float {
    using Reg = __m512;
    using Weight = __m512;
    using Input = __m512;
    using Out = float;
    static Reg start(const float* p) { return _mm512_loadu_ps(p); }
    static Weight weight(const uint32_t* w) { return _mm512_loadu_ps(w); }
    static Input input(const uint32_t* x) {
      return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int32_t>(*x)));
    }
    static Reg dot(Reg acc, Input x, Weight w) { return _mm512_fmadd_ps(x, w, acc); }
    static void store(float* y, Reg acc) { _mm512_storeu_ps(y, acc); }
  };

  struct Code {
    using Reg = __m512i;
    using Weight = __m512i;
    using Input = __m512i;
    using Out = int32_t;
    static Reg start(const int32_t* p) { return _mm512_loadu_si512(p); }
    static Weight weight(const uint32_t* w) { return _mm512_loadu_si512(w); }
    static Input input(const uint32_t* x) { return _mm512_set1_epi32(static_cast<int32_t>(*x)); }
    static Reg dot(Reg acc, Input x, Weight w) { return _mm512_dpbusd_epi32(acc, x, w); }
    static void store(int32_t* y, Reg acc) { _mm512_storeu_si512(y, acc); }
  };

  static Bits none() { return _mm512_setzero_si512(); }
  static Bits load(const uint32_t* w) { return _mm512_loadu_si512(w); }
  static Bits differ(const uint32_t* x, Bits w) {
    return _mm512_xor_si512(w, _mm512_set1_epi32(static_cast<int32_t>(*x)));
  }
  static Bits differ(const uint32_t* x, Bits w, Bits mask) {  // (x ^ w) & mask
    return _mm512_ternarylogic_epi32(w, mask, _mm512_set1_epi32(static_cast<int32_t>(*x)), 0x48);
  }
  static Bits both(Bits a, Bits b) { return _mm512_and_si512(a, b); }
  static Bits either(Bits a, Bits b) { return _mm512_xor_si512(a, b); }
  static void add(Bits a, Bits b, Bits c, Bits& sum, Bits& carry) {
    carry = _mm512_ternarylogic_epi32(a, b, c, 0xe8);
    sum = _mm512_ternarylogic_epi32(a, b, c, 0x96);
  }
  /// total + weight * set bits
  static Bits count(Bits total, Bits a, int weight) {
    if constexpr (kPopcount) {
      const Bits n = _mm512_popcnt_epi32(a);
      return _mm512_add_epi32(total, _mm512_slli_epi32(n, static_cast<unsigned>(weight) / 3));
    }
    const Bits table =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const Bits low = _mm512_set1_epi8(15);
    const Bits n =
        _mm512_add_epi8(_mm512_shuffle_epi8(table, _mm512_and_si512(a, low)),
                        _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi32(a, 4), low)));
    return _mm512_dpbusd_epi32(total, n, _mm512_set1_epi8(static_cast<char>(weight)));
  }
  static void store_rest(int32_t* y, const int32_t* base, Bits d) {
    _mm512_storeu_si512(y, _mm512_sub_epi32(_mm512_loadu_si512(base), _mm512_add_epi32(d, d)));
  }

  static void to_code(const FinishTile& f) noexcept {
    const __m512 min = _mm512_set1_ps(f.min), max = _mm512_set1_ps(f.max);
    const __m512i zero = _mm512_set1_epi32(f.zero);
    for (int64_t m = 0; m < f.rows; ++m) {
      const int32_t* raw = static_cast<const int32_t*>(f.raw) + m * f.raw_row;
      uint8_t* y = static_cast<uint8_t*>(f.y) + m * f.y_row;
      for (int64_t i = 0; i < f.count; i += 16) {
        const auto some =
            static_cast<__mmask16>(f.count - i >= 16 ? 0xffff : (1 << (f.count - i)) - 1);
        const __m512 a = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(some, raw + i));
        const __m512 t = _mm512_add_ps(_mm512_mul_ps(a, _mm512_maskz_loadu_ps(some, f.scale + i)),
                                       _mm512_maskz_loadu_ps(some, f.bias + i));
        const __m512i q = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(t, min), max));
        _mm512_mask_cvtepi32_storeu_epi8(y + i, some, _mm512_add_epi32(q, zero));
      }
    }
  }
  static void to_bits(const int32_t* raw, const int32_t* threshold, int64_t count,
                      uint32_t* y) noexcept {
    const auto some = static_cast<__mmask16>(count >= 16 ? 0xffff : (1 << count) - 1);
    const __m512i a = _mm512_maskz_loadu_epi32(some, raw);
    *y = _mm512_mask_cmp_epi32_mask(some, a, _mm512_maskz_loadu_epi32(some, threshold),
                                    _MM_CMPINT_NLT);
  }
};
