#pragma once
// Single convolutions: where they come from, and their three passes.

#include <string>
#include <vector>

#include "core/kernels/conv.h"
#include "core/tensor.h"
#include "nn/module.h"

namespace pare::bench {

enum class Pass { forward, data_gradient, weight_gradient };
inline constexpr Pass kPasses[] = {Pass::forward, Pass::data_gradient, Pass::weight_gradient};
/// "forward", "data_gradient", "weight_gradient"
const char* name_of(Pass pass);

/// A convolution, as often as a model has it.
struct ConvLayer {
  std::string path;  // of the first one; empty if it is of no model
  kernels::ConvShape shape;
  int64_t count = 1;
  bool sees_images = false;  // nobody asks for its data gradient

  bool has(Pass pass) const { return !(sees_images && pass == Pass::data_gradient); }
  /// Of one pass over one batch, all `count` together.
  double flops() const { return 2.0 * static_cast<double>(shape.macs() * count); }
  std::string input() const;   // "32x32x3"
  std::string output() const;  // "32x32x192"
  std::string kernel() const;  // "5x5 s2 g16": stride 2, 16 groups
};

/// Throws if the sizes make no convolution.
void check_shape(const kernels::ConvShape& shape);

/// Every convolution of a model for batches of images [H, W, C], in calling order, equal ones
/// counted.
std::vector<ConvLayer> conv_layers(nn::Layer& model, const Shape& image, int64_t batch);

/// Operands of a convolution, filled with noise.
class ConvWork {
 public:
  explicit ConvWork(const kernels::ConvShape& shape);
  /// Runs the pass once and returns the seconds it took.
  double run(Pass pass) const;

 private:
  kernels::ConvShape shape_;
  Tensor x_, w_, dy_;
};

}  // namespace pare::bench
