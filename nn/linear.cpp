#include "nn/linear.h"

#include "core/ops.h"
#include "nn/text.h"

namespace pare::nn {

Linear::Linear(const LinearOptions& options) : opt(options) {
  PARE_CHECK(opt.in > 0 && opt.out > 0, "Linear: features must be positive, got in ", opt.in,
             ", out ", opt.out);
  weight = Tensor::zeros({opt.out, opt.in});
  weight.requires_grad_();
  if (opt.bias) bias = Tensor::zeros({opt.out}).requires_grad_();
}

Tensor Linear::forward(const Tensor& x) { return linear(input_fn(x), weight_fn(weight), bias); }

std::string Linear::describe() const {
  Description d("Linear");
  d.arg(opt.in).arg(opt.out).option("bias", opt.bias, true);
  if (weight_fn) d.option("weight", weight_fn->describe());
  if (input_fn) d.option("input", input_fn->describe());
  return d;
}

}  // namespace pare::nn
