#pragma once
// What stands in front of a program and behind it: bytes to floats, and outputs to probabilities.

#include <cstdint>

#include "deploy/runtime/program.h"

namespace pare::runtime {

/// y = (x / 255 - mean) / std per channel, as the program says; mean 0 and std 1 if it does not.
/// images [count, h, w, c]
void normalize(const Program& program, const uint8_t* images, int64_t count, float* y);
/// e^y_i / sum_k e^y_k, in place.
void softmax(float* y, int64_t n);

}  // namespace pare::runtime
