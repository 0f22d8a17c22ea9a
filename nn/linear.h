#pragma once
#include "nn/module.h"

namespace pare::nn {

struct LinearOptions {
  int64_t in, out;
  bool bias = true;
};

/// y = input_fn(x) weight_fn(weight)^T + bias.    x [N, in] -> y [N, out]
struct Linear final : Module {
  explicit Linear(const LinearOptions& options);
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& v) override {
    v("weight", weight)("bias", bias)("weight_fn", weight_fn)("input_fn", input_fn);
  }
  std::string describe() const override;

  LinearOptions opt;
  Tensor weight, bias;  // [out, in], [out] or empty
  Layer weight_fn, input_fn;
};

}  // namespace pare::nn
