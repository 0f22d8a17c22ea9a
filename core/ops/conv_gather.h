#pragma once
// A convolution's forward pass and data gradient as dense gather problems (core/kernels/conv.h)
// over all images of a batch, threaded, as work that can wait until somebody reads the result.
// Private to core/ops.

#include <optional>
#include <vector>

#include "core/deferred.h"
#include "core/grid.h"
#include "core/kernels/conv.h"
#include "core/kernels/winograd.h"

namespace pare {

/// One dense problem: an image's geometry, how many images, and where weights and outputs lie.
struct GatherPass {
  kernels::GatherProblem p;
  int64_t images, x_pixels;    // pixels from image to image
  int64_t y_image, y_offset;   // floats from image to image; of the first output
  int64_t groups, outputs;     // outputs of one group
  kernels::PackSource weight;  // base is the offset of the first weight, as set by run
  int64_t weight_offset, weight_group;
};

GatherPass forward_pass(const kernels::ConvShape& s);
/// One pass for each stride phase.
std::vector<GatherPass> data_gradient_passes(const kernels::ConvShape& s);

/// Two tensors' grids: what a pass in integers needs to know.
struct Grids {
  GridPtr x, w;
};
/// Empty unless x and w have grids, and the pass can be done with bytes of them.
std::optional<Grids> byte_grids(const GatherPass& pass, const Tensor& x, const Tensor& w);

/// How a pass is computed.
struct GatherWay {
  using Kind = std::optional<kernels::WinogradKind>;
  Kind winograd = {};  // of the only pass
  bool bf16 = false;   // operands of the direct sum rounded to bfloat16
  std::optional<Grids> grids = {};
};

/// y = the passes over x with weights w, plus bias.
struct Gather final : Deferred {
  Gather(std::vector<GatherPass> passes, const Tensor& x, const Tensor& w, const Tensor& bias,
         GatherWay way = {});

  void run(float* y) const override;
  int64_t blocks() const override;
  void run(float* y, BlockVisitor visit) const override;
  // Without gradients what follows joins in: conv_finish.cpp.
  Tensor then(const Pointwise& f) const override;
  Tensor plus(const Tensor& residual) const override;
  Tensor quantized(const QuantStep& step) const override;

  std::vector<GatherPass> passes;
  Tensor x, w, bias;  // without history; bias may be empty
  GatherWay way;

 private:
  void run(const GatherPass& pass, float* y, const BlockVisitor* visit) const;
  kernels::Operands operands(const kernels::Source& from) const;
  void run_winograd(const GatherPass& pass, float* y, const BlockVisitor* visit) const;
};

/// What a visitor will read beside a block.
kernels::Ahead fetched_beside(const BlockVisitor* visit, const Block& block, int64_t channels);

}  // namespace pare
