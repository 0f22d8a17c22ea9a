#pragma once
// All ops but convolution, for one image.

#include <cstdint>

#include "deploy/runtime/program.h"

namespace pare::runtime {

/// Pieces of one image that may be computed by different threads: rows, or the whole.
int64_t op_units(const Program& program, const Op& op);
/// x: where each input is.
void run_op(const Program& program, const Op& op, int64_t unit, const uint8_t* const* x,
            uint8_t* y);

}  // namespace pare::runtime
