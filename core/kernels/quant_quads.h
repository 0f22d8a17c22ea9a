#pragma once
// Values that are quantized only to become bytes: fake_quant and byte_quads in one pass, without
// the numbers in between.

#include <cstdint>

#include "core/kernels/fake_quant.h"
#include "core/kernels/quads.h"

namespace pare::kernels {

/// The same bytes as byte_quads(code, fake_quant(q, x)): to[p][k] of x[p][4k .. 4k + 3], x [pixels,
/// channels]. The codes of q, less its zero point, lie within code.lo .. code.hi. False if there is
/// a NaN.
bool quant_quads(const FakeQuant& q, const ByteCode& code, const float* x, int64_t pixels,
                 int64_t channels, float* to) noexcept;

}  // namespace pare::kernels
