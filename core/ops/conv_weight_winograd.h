#pragma once
// The weight gradient by Winograd's algorithm. Private to core/ops.

#include "core/kernels/winograd.h"
#include "core/tensor.h"

namespace pare {

/// As conv_weight_gradient, for a shape whose forward pass has this kind.
Tensor winograd_weight_gradient(const kernels::ConvShape& s, const kernels::WinogradKind& kind,
                                const Tensor& x, const Tensor& dy, const Shape& dw_shape,
                                Tensor* db);

}  // namespace pare
