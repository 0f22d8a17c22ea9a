// AVX2: tiles of 6 pixels x 16 filters; 12 of 16 registers accumulate. Bytes are multiplied as
// 16-bit numbers: vpmaddubsw would saturate.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#include "deploy/runtime/kernels/tile.h"

namespace pare::runtime::kernels {
namespace avx2 {
namespace {

struct V {
  static constexpr int kLanes = 8;
  static constexpr bool kFinishes = false;
  using Bits = __m256i;

  static __m256i load_words(const uint32_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }

  struct Float {
    using Reg = __m256;
    using Weight = __m256;
    using Input = __m256;
    using Out = float;
    static Reg start(const float* p) { return _mm256_loadu_ps(p); }
    static Weight weight(const uint32_t* w) { return _mm256_castsi256_ps(load_words(w)); }
    static Input input(uint32_t x) {
      return _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int32_t>(x)));
    }
    static Reg dot(Reg acc, Input x, Weight w) { return _mm256_fmadd_ps(x, w, acc); }
    static void store(float* y, Reg acc) { _mm256_storeu_ps(y, acc); }
  };

  // Of the four bytes of a word the even ones and the odd ones apart.
  struct Code {
    using Reg = __m256i;
    struct Weight {
      __m256i even, odd;
    };
    using Input = Weight;
    using Out = int32_t;
    static Reg start(const int32_t* p) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    }
    static Weight weight(const uint32_t* w) {
      const __m256i b = load_words(w);
      return {_mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8), _mm256_srai_epi16(b, 8)};
    }
    static Input input(uint32_t x) {
      const __m256i a = _mm256_set1_epi32(static_cast<int32_t>(x));
      return {_mm256_and_si256(a, _mm256_set1_epi16(255)), _mm256_srli_epi16(a, 8)};
    }
    static Reg dot(Reg acc, const Input& x, const Weight& w) {
      acc = _mm256_add_epi32(acc, _mm256_madd_epi16(x.even, w.even));
      return _mm256_add_epi32(acc, _mm256_madd_epi16(x.odd, w.odd));
    }
    static void store(int32_t* y, Reg acc) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), acc);
    }
  };

  static Bits none() { return _mm256_setzero_si256(); }
  static Bits load(const uint32_t* w) { return load_words(w); }
  static Bits load_bytes(const uint8_t* w) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
  }
  static Bits differ(const uint32_t* x, Bits w) {
    return _mm256_xor_si256(w, _mm256_set1_epi32(static_cast<int32_t>(*x)));
  }
  static Bits differ(const uint32_t* x, Bits w, Bits mask) { return both(differ(x, w), mask); }
  static Bits both(Bits a, Bits b) { return _mm256_and_si256(a, b); }
  static Bits either(Bits a, Bits b) { return _mm256_xor_si256(a, b); }
  static void add(Bits a, Bits b, Bits c, Bits& sum, Bits& carry) {
    const Bits differs = either(a, b);
    carry = _mm256_or_si256(both(a, b), both(differs, c));
    sum = either(differs, c);
  }
  static Bits count(Bits total, Bits a, unsigned weight) {
    const Bits table =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const Bits low = _mm256_set1_epi8(15);
    const Bits n = _mm256_add_epi8(_mm256_shuffle_epi8(table, both(a, low)),
                                   _mm256_shuffle_epi8(table, both(_mm256_srli_epi32(a, 4), low)));
    const Bits pairs = _mm256_maddubs_epi16(n, _mm256_set1_epi8(static_cast<char>(weight)));
    return _mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static void store_rest(int32_t* y, const int32_t* base, Bits d) {
    const Bits b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(base));
    const Bits rest = _mm256_sub_epi32(b, _mm256_add_epi32(d, d));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), rest);
  }

  static uint32_t at_least(const int32_t* a, const int32_t* b) {
    const __m256i less = _mm256_cmpgt_epi32(Code::start(b), Code::start(a));
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(less))) ^ 255u;
  }
  static uint32_t at_least_0(const float* x) {
    const __m256 not_less = _mm256_cmp_ps(_mm256_loadu_ps(x), _mm256_setzero_ps(), _CMP_GE_OQ);
    return static_cast<uint32_t>(_mm256_movemask_ps(not_less));
  }

  static constexpr bool kLikesTables = true;
  static Bits table(const uint8_t* of_16) {
    return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(of_16)));
  }
  static Bits look_up(Bits table, Bits i) { return _mm256_shuffle_epi8(table, i); }
  static Bits add_bytes(Bits a, Bits b) { return _mm256_add_epi8(a, b); }
  static void store_rests(int32_t* y, const int32_t* from, Bits d) {
    const __m128i halves[] = {_mm256_castsi256_si128(d), _mm256_extracti128_si256(d, 1)};
    for (int i = 0; i < 2; ++i, y += 16, from += 16) {
      store_rest(y, from, _mm256_cvtepu8_epi32(halves[i]));
      store_rest(y + 8, from + 8, _mm256_cvtepu8_epi32(_mm_srli_si128(halves[i], 8)));
    }
  }
};

constexpr int kPanels = 1, kRows[] = {6}, kSignRows = 6;
#include "deploy/runtime/kernels/tile-inl.h"

}  // namespace
}  // namespace avx2

const Kernels kAvx2 = avx2::make("avx2");

}  // namespace pare::runtime::kernels
#endif
