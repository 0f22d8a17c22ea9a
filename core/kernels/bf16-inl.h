// Rounding to bfloat16 (core/kernels/bf16.h) a vector at a time: by integers, or by the CPU's own
// instructions. Included per target.

#if defined(PARE_CORE_KERNELS_BF16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PARE_CORE_KERNELS_BF16_INL_H_
#undef PARE_CORE_KERNELS_BF16_INL_H_
#else
#define PARE_CORE_KERNELS_BF16_INL_H_
#endif

#include "core/kernels/isa.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// On every CPU.
struct RoundByIntegers {
  using F = hn::ScalableTag<float>;
  using U = hn::RebindToUnsigned<F>;
  using Half = hn::Rebind<uint16_t, F>;

  /// The bits of x as bfloat16.
  static HWY_INLINE hn::Vec<Half> Bits(hn::Vec<F> x) {
    return hn::TruncateTo(Half(), hn::ShiftRight<16>(High(x)));
  }
  /// Words (first[i], second[i]).
  static HWY_INLINE hn::Vec<F> Words(hn::Vec<F> first, hn::Vec<F> second) {
    const auto high = hn::And(High(second), hn::Set(U(), 0xffff0000u));
    return hn::BitCast(F(), hn::Or(hn::ShiftRight<16>(High(first)), high));
  }
  /// Words (x[2i], x[2i + 1]).
  static HWY_INLINE hn::Vec<F> Neighbours(const float* x) {
    hn::Vec<F> first, second;
    hn::LoadInterleaved2(F(), x, first, second);
    return Words(first, second);
  }

 private:
  /// The rounded number in the high half of each lane; the low half is rubbish.
  static HWY_INLINE hn::Vec<U> High(hn::Vec<F> x) {
    const U u;
    const auto bits = hn::BitCast(u, x);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u, 1u));
    const auto rounded = hn::Add(hn::Add(bits, hn::Set(u, 0x7fffu)), odd);
    const auto quiet = hn::Or(bits, hn::Set(u, 0x400000u));
    return hn::IfThenElse(hn::RebindMask(u, hn::IsNaN(x)), quiet, rounded);
  }
};

#if HWY_TARGET == HWY_AVX3
/// The same by AVX512_BF16; denormals become zeros. Debian's Highway has no target with these
/// instructions, so they are spelled here.
struct RoundByInstruction {
  using V = hn::Vec<hn::ScalableTag<float>>;

  static HWY_INLINE hn::Vec256<uint16_t> Bits(V x) {
    __m256i bits;
    asm("vcvtneps2bf16 %1, %0" : "=v"(bits) : "v"(x.raw));
    return hn::Vec256<uint16_t>{bits};
  }
  static HWY_INLINE V Words(V first, V second) {
    alignas(64) static constexpr uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                        21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                        11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return V{_mm512_castsi512_ps(
        _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), Both(first, second)))};
  }
  static HWY_INLINE V Neighbours(const float* x) {
    const hn::ScalableTag<float> d;
    return V{_mm512_castsi512_ps(Both(hn::LoadU(d, x), hn::LoadU(d, x + 16)))};
  }

 private:
  static HWY_INLINE __m512i Both(V low, V high) {
    __m512i both;
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(both) : "v"(low.raw), "v"(high.raw));
    return both;
  }
};
#endif

/// f(the fastest of them that the CPU has)
template <class F>
HWY_INLINE auto WithRounding(F f) {
#if HWY_TARGET == HWY_AVX3
  if (cpu_has_avx512_bf16()) return f(RoundByInstruction());
#endif
  return f(RoundByIntegers());
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
