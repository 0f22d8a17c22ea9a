#pragma once
// First include of every file that uses Highway: which targets are compiled.
//
// Three, to match Isa: the baseline (no -m flags: one lane on x86, NEON on ARM), AVX2 with FMA, and
// AVX-512. Highway's emulated 128-bit target is off, so that every compiler's baseline computes the
// same bits.

#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#define HWY_BROKEN_EMU128 1
