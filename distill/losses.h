#pragma once
// The losses as functions. z: the student's logits [N, classes], t: the teacher's; features are
// [N, H, W, C] or [N, C]. Teachers get no gradient. Formulas and papers are in losses/.

#include "core/tensor.h"
#include "distill/term.h"

namespace pare::distill {

struct KdOptions {
  float temperature = 4;
};
Tensor kd(const Tensor& z, const Tensor& t, const KdOptions& options = {});

struct DkdOptions {
  float temperature = 4, alpha = 1, beta = 8;
};
/// labels [N]: class indices
Tensor dkd(const Tensor& z, const Tensor& t, const Tensor& labels, const DkdOptions& options = {});

Tensor attention_transfer(const Tensor& student, const Tensor& teacher);
Tensor similarity_preserving(const Tensor& student, const Tensor& teacher);

struct RkdOptions {
  float distance = 25, angle = 50;
};
/// The angles of a batch of N images cost N products of [N, D] matrices.
Tensor rkd(const Tensor& student, const Tensor& teacher, const RkdOptions& options = {});

struct IrgOptions {
  float vertex = 0.1f, edge = 5, transform = 5;
};
/// Features of two places.
Tensor irg(const Answer& student, const Answer& teacher, const IrgOptions& options = {});

struct DeepOptions {
  float soft = 0.5f, temperature = 3;
};
/// classifier: logits [N, classes] of a layer within the student
Tensor deep_supervision(const Tensor& classifier, const Tensor& z, const Tensor& labels,
                        const DeepOptions& options = {});

/// Throws unless both are [N, classes] of one shape.
void check_logits(const char* who, const Tensor& z, const Tensor& t);

}  // namespace pare::distill
