// Scalar losses.
//   cross_entropy  L = -1/N sum_n sum_c t log softmax(z)     dz = (softmax(z) sum t - t) / N
//   mse_loss       L = mean (a - b)^2                        da = 2 (a - b) / n = -db

#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "core/kernels/reduce.h"
#include "core/kernels/softmax.h"
#include "core/ops.h"
#include "core/ops/common.h"
#include "core/ops/show.h"

namespace pare {

namespace {

void check_targets(const Tensor& logits, const Tensor& target, float smoothing) {
  PARE_CHECK(logits.dims() == 2 && logits.dim(0) > 0 && logits.dim(1) > 0,
             "cross_entropy: got logits of shape ", logits.shape(), ", expected [N, classes]");
  PARE_CHECK(smoothing >= 0 && smoothing <= 1, "cross_entropy: got label smoothing ", smoothing,
             ", expected 0 .. 1");
  PARE_CHECK(!grad_enabled() || !target.requires_grad(),
             "cross_entropy: the target wants a gradient, which it does not get",
             hint("pass target.detach()"));
  if (target.shape() == logits.shape()) return;
  PARE_CHECK(
      target.dims() == 1 && target.dim(0) == logits.dim(0),
      "cross_entropy: the target fits neither [N] class indices nor [N, classes] probabilities",
      operand("logits", logits), operand("target", target));
  const float* t = target.data();
  for (int64_t n = 0; n < target.numel(); ++n) {
    PARE_CHECK(t[n] >= 0 && t[n] < static_cast<float>(logits.dim(1)) && t[n] == std::floor(t[n]),
               "cross_entropy: target ", n, " is ", t[n], ", expected an integer in 0 .. ",
               logits.dim(1) - 1, operand("logits", logits));
  }
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, float label_smoothing) {
  check_targets(logits, target, label_smoothing);
  const int64_t rows = logits.dim(0), classes = logits.dim(1);
  const bool soft = target.dims() == 2;
  Tensor losses = Tensor::uninit({rows}), dz;
  if (grad_enabled() && logits.requires_grad()) dz = Tensor::uninit(logits.shape());
  const float *z = logits.data(), *t = target.data();
  float *each = losses.data(), *slope = dz ? dz.data() : nullptr;
  parallel_for(rows, rows_per_task(8 * classes), [&](Range r) {
    const int64_t at = r.begin * classes;
    kernels::cross_entropy(z + at, {t + (soft ? at : r.begin), soft, label_smoothing},
                           each + r.begin, slope ? slope + at : nullptr, r.size(), classes);
  });
  const double total = kernels::sum(each, rows);

  return record("cross_entropy",
                Tensor::scalar(static_cast<float>(total / static_cast<double>(rows))), {logits},
                [rows, dz](const Tensor& dy, Needs) -> Grads {
                  return {mul(dz, dy.item() / static_cast<float>(rows))};
                });
}

Tensor mse_loss(const Tensor& a, const Tensor& b) {
  PARE_CHECK(a.shape() == b.shape() && a.numel() > 0, "mse_loss: expected two tensors of one shape",
             operand("a", a), operand("b", b));
  const float *pa = a.data(), *pb = b.data();
  const double total = sum_in_chunks(a.numel(), [&](Range r) {
    return kernels::sum_squared_difference(pa + r.begin, pb + r.begin, r.size());
  });
  const float n = static_cast<float>(a.numel());

  return record("mse_loss",
                Tensor::scalar(static_cast<float>(total / static_cast<double>(a.numel()))), {a, b},
                [n, a = a.detach(), b = b.detach()](const Tensor& dy, Needs need) -> Grads {
                  const Tensor da = mul(sub(a, b), 2 * dy.item() / n);
                  return {da, need[1] ? mul(da, -1.0f) : Tensor{}};
                });
}

}  // namespace pare
