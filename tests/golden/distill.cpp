// distill/*: student, teacher [N, classes], target [N]; kd, loss, gstudent. The formula is in the
// file: loss = alpha T^2 KL(teacher || student) + (1 - alpha) cross-entropy, kd = T^2 KL.

#include "core/autograd.h"
#include "core/ops.h"
#include "distill/losses.h"
#include "tests/golden/golden.h"

namespace pare::golden {

void check_distillation(const Golden& g, Checks& checks) {
  constexpr Tolerance kTolerance{.relative = 1e-5};
  if (g.stem.rfind("kd_hinton", 0) != 0) return checks.fail("no loss of this name is known");
  const float alpha = g.number("alpha", 0.5f);
  const Tensor student = g.raw("student").requires_grad_();
  const Tensor kd = distill::kd(student, g.raw("teacher"), {.temperature = g.number("T", 1.0f)});
  const Tensor loss = alpha * kd + (1 - alpha) * cross_entropy(student, g.raw("target"));
  loss.backward();
  // The file's kd may be weighted or not; its loss is not ambiguous.
  checks.close("loss", loss.detach(), g.raw("loss"), kTolerance);
  checks.close("gstudent", student.grad(), g.raw("gstudent"), kTolerance);
}

}  // namespace pare::golden
