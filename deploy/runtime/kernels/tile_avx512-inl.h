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
    static Input input(uint32_t x) {
      return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int32_t>(x)));
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
    static Input input(uint32_t x) { return _mm512_set1_epi32(static_cast<int32_t>(x)); }
    static Reg dot(Reg acc, Input x, Weight w) { return _mm512_dpbusd_epi32(acc, x, w); }
    static void store(int32_t* y, Reg acc) { _mm512_storeu_si512(y, acc); }
  };

  static Bits none() { return _mm512_setzero_si512(); }
  static Bits load(const uint32_t* w) { return _mm512_loadu_si512(w); }
  static Bits load_bytes(const uint8_t* w) { return _mm512_loadu_si512(w); }
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
  /// total + weight * set bits, for a weight of 1, 2, 4 or 8
  static Bits count(Bits total, Bits a, unsigned weight) {
    if constexpr (kPopcount) {
      const Bits n = _mm512_popcnt_epi32(a);
      const auto log2 = static_cast<unsigned>(std::countr_zero(weight));
      return _mm512_add_epi32(total, _mm512_slli_epi32(n, log2));
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

  static uint32_t at_least(const int32_t* a, const int32_t* b) {
    return _mm512_cmp_epi32_mask(_mm512_loadu_si512(a), _mm512_loadu_si512(b), _MM_CMPINT_NLT);
  }
  static uint32_t at_least_0(const float* x) {
    return _mm512_cmp_ps_mask(_mm512_loadu_ps(x), _mm512_setzero_ps(), _CMP_GE_OQ);
  }

  static constexpr bool kLikesTables = !kPopcount;
  static Bits table(const uint8_t* of_16) {
    return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(of_16)));
  }
  static Bits look_up(Bits table, Bits i) { return _mm512_shuffle_epi8(table, i); }
  static Bits add_bytes(Bits a, Bits b) { return _mm512_add_epi8(a, b); }
  /// y = from - 2 d for 64 bytes d
  static void store_rests(int32_t* y, const int32_t* from, Bits d) {
    alignas(64) uint8_t bytes[64];  // through memory: extracting takes the port of the tables
    _mm512_store_si512(bytes, d);
    for (int i = 0; i < 64; i += 16) {
      const auto* part = reinterpret_cast<const __m128i*>(bytes + i);
      store_rest(y + i, from + i, _mm512_cvtepu8_epi32(_mm_load_si128(part)));
    }
  }

  static void to_code(const FinishTile& f) noexcept {
    if (f.zero == 0) return to_code_by<false>(f);
    to_code_by<true>(f);
  }

  // Channels outside, pixels inside: scale and bias stay in registers. Whole vectors are narrowed
  // in a register, which is cheaper than a store under a mask.
  template <bool kZero>
  static void to_code_by(FinishTile f) noexcept {
    const auto* raw = static_cast<const int32_t*>(f.raw);
    auto* y = static_cast<uint8_t*>(f.y);
    int64_t i = 0;
    for (; i + 16 <= f.count; i += 16) {
      const __m512 scale = _mm512_loadu_ps(f.scale + i), bias = _mm512_loadu_ps(f.bias + i);
      for (int64_t m = 0; m < f.rows; ++m) {
        const __m512i q = code<kZero>(f, _mm512_loadu_si512(raw + m * f.raw_row + i), scale, bias);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(y + m * f.y_row + i), _mm512_cvtepi32_epi8(q));
      }
    }
    if (i == f.count) return;
    const auto some = static_cast<__mmask16>((1 << (f.count - i)) - 1);
    const __m512 scale = _mm512_maskz_loadu_ps(some, f.scale + i);
    const __m512 bias = _mm512_maskz_loadu_ps(some, f.bias + i);
    for (int64_t m = 0; m < f.rows; ++m) {
      const __m512i a = _mm512_maskz_loadu_epi32(some, raw + m * f.raw_row + i);
      _mm512_mask_cvtepi32_storeu_epi8(y + m * f.y_row + i, some, code<kZero>(f, a, scale, bias));
    }
  }

  /// round(clamp(scale raw + bias, min, max)) + zero
  template <bool kZero>
  static __m512i code(const FinishTile& f, __m512i raw, __m512 scale, __m512 bias) {
    const __m512 t = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(raw), scale), bias);
    const __m512i q = _mm512_cvtps_epi32(
        _mm512_min_ps(_mm512_max_ps(t, _mm512_set1_ps(f.min)), _mm512_set1_ps(f.max)));
    return kZero ? _mm512_add_epi32(q, _mm512_set1_epi32(f.zero)) : q;
  }
};
