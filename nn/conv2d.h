#pragma once
#include "core/ops.h"
#include "nn/module.h"

namespace pare::nn {

struct Conv2dOptions {
  int64_t in, out;
  Hw kernel = 3, stride = 1, pad = 0, dilation = 1;
  int groups = 1;
  bool bias = true;
};

/// y = conv2d(input_fn(x), weight_fn(weight)) + bias.    x [N, H, W, in] -> y [N, OH, OW, out]
/// Quantizers and pruning masks plug into the two sockets; an empty socket is the identity.
struct Conv2d final : Module {
  explicit Conv2d(const Conv2dOptions& options);
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& v) override {
    v("weight", weight)("bias", bias)("weight_fn", weight_fn)("input_fn", input_fn);
  }
  std::string describe() const override;

  Conv2dOptions opt;
  Tensor weight, bias;  // [out, kh, kw, in/groups], [out] or empty
  Layer weight_fn, input_fn;
};

struct ConvTranspose2dOptions {
  int64_t in, out;
  Hw kernel = 3, stride = 1, pad = 0, output_pad = 0, dilation = 1;
  int groups = 1;
  bool bias = true;
};

/// y = conv_transpose2d(input_fn(x), weight_fn(weight)) + bias.    weight [in, kh, kw, out/groups]
struct ConvTranspose2d final : Module {
  explicit ConvTranspose2d(const ConvTranspose2dOptions& options);
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& v) override {
    v("weight", weight)("bias", bias)("weight_fn", weight_fn)("input_fn", input_fn);
  }
  std::string describe() const override;

  ConvTranspose2dOptions opt;
  Tensor weight, bias;
  Layer weight_fn, input_fn;
};

}  // namespace pare::nn
