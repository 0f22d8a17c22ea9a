#pragma once
// The numbers of Rng (Philox4x32-10), many at a time, and dropout made of them.

#include <cstdint>

namespace pare::kernels {

/// out[i] = the number that an Rng with this key gives at counter + i.
void philox(uint64_t key, uint64_t counter, uint32_t* out, int64_t n) noexcept;

/// y[i] = u < p ? 0 : x[i] / (1 - p), u the uniform number of an Rng with this key at counter + i.
void dropout(const float* x, float p, uint64_t key, uint64_t counter, float* y, int64_t n) noexcept;

}  // namespace pare::kernels
