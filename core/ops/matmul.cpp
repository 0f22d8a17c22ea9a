// linear   y = x w^T + b      dx = dy w        dw = dy^T x      db = column sums of dy
// matmul   y = a b            da = dy b^T      db = a^T dy
// A product of matrices is a convolution of 1x1 images, so these are the convolution's passes.

#include "core/autograd.h"
#include "core/ops.h"
#include "core/ops/conv_passes.h"
#include "core/ops/show.h"

namespace pare {

// x [N, in], w [out, in], b [out]  ->  y [N, out]
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b) {
  const auto operands = [&] {
    return operand("input", x) + operand("weight", w) + (b ? operand("bias", b) : "");
  };
  PARE_CHECK(x.dims() == 2 && w.dims() == 2, "linear: input must be [N, in], weight [out, in]",
             operands());
  PARE_CHECK(x.dim(1) == w.dim(1), "linear: input has ", x.dim(1), " features, weight expects ",
             w.dim(1), operands());
  PARE_CHECK(!b || (b.dims() == 1 && b.dim(0) == w.dim(0)), "linear: bias must be [", w.dim(0), "]",
             operands());
  const kernels::ConvShape s = matrix_shape(x.dim(0), x.dim(1), w.dim(0));

  const Tensor y = conv_forward(s, x, w, b, {x.dim(0), w.dim(0)});
  return record("linear", y, {x, w, b},
                [s, x = x.detach(), w = w.detach()](const Tensor& dy, Needs need) -> Grads {
                  Tensor dw, db;
                  if (need[1] || need[2])
                    dw = conv_weight_gradient(s, x, dy, w.shape(), need[2] ? &db : nullptr);
                  return {need[0] ? conv_data_gradient(s, dy, w, {}, x.shape()) : Tensor{}, dw, db};
                });
}

// a [M, K], b [K, N]  ->  y [M, N]
Tensor matmul(const Tensor& a, const Tensor& b) {
  PARE_CHECK(a.dims() == 2 && b.dims() == 2 && a.dim(1) == b.dim(0),
             "matmul: needs [M, K] and [K, N]", operand("a", a), operand("b", b));
  const kernels::ConvShape s =
      matrix_shape(a.dim(0), b.dim(1), b.dim(0));  // b as a weight [out = K, in = N]

  const Tensor y = conv_data_gradient(s, a, b, {}, {a.dim(0), b.dim(1)});
  return record("matmul", y, {a, b},
                [s, a = a.detach(), b = b.detach()](const Tensor& dy, Needs need) -> Grads {
                  return {need[0] ? conv_forward(s, dy, b, {}, a.shape()) : Tensor{},
                          need[1] ? conv_weight_gradient(s, dy, a, b.shape(), nullptr) : Tensor{}};
                });
}

}  // namespace pare
