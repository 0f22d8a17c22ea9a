#pragma once
// Max and average pooling, of rows [r0, r1) of one image.

#include <cstdint>

#include "deploy/runtime/program.h"

namespace pare::runtime {

void run_pool(const Program& program, const Op& op, int64_t r0, int64_t r1, const uint8_t* x,
              uint8_t* y);

}  // namespace pare::runtime
