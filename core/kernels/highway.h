#pragma once
// Include before any Highway header: the targets that match Isa, and no others, so that every kernel file is
// compiled three times instead of seven.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
