#pragma once
// Small networks that lift a student's features to a teacher's width.

#include "core/rng.h"
#include "nn/module.h"

namespace pare::distill {

/// `depth` 1x1 convolutions (linear layers for [N, C]) with ReLU between them, no biases, from the
/// student's channels to the teacher's, which are the inner widths too.
nn::Layer regressor(const Tensor& student, const Tensor& teacher, int depth, Rng& rng);

}  // namespace pare::distill
