#pragma once
// The three passes of a convolution, threaded, without recording. conv2d, conv_transpose2d, linear
// and matmul are all made of them.

#include "core/kernels/conv.h"
#include "core/tensor.h"

namespace pare {

/// y [N, OH, OW, out] = conv(x [N, H, W, in], w [out, kh, kw, in/groups]) + bias; `exact`
/// as in ConvOptions.
Tensor conv_forward(const kernels::ConvShape& s, const Tensor& x, const Tensor& w,
                    const Tensor& bias, const Shape& y_shape, bool exact = false);
/// dx [N, H, W, in] from dy [N, OH, OW, out]; `bias` [in] is added (for the transposed
/// convolution).
Tensor conv_data_gradient(const kernels::ConvShape& s, const Tensor& dy, const Tensor& w,
                          const Tensor& bias, const Shape& dx_shape);
/// dw like w; db [out] too unless null.
Tensor conv_weight_gradient(const kernels::ConvShape& s, const Tensor& x, const Tensor& dy,
                            const Shape& dw_shape, Tensor* db);
Tensor direct_weight_gradient(const kernels::ConvShape& s, const Tensor& x, const Tensor& dy,
                              const Shape& dw_shape, Tensor* db);

/// A matrix product as a convolution of 1x1 images: x [rows, in], w [out, in].
inline kernels::ConvShape matrix_shape(int64_t rows, int64_t in, int64_t out) {
  return {
      .images = rows, .height = 1, .width = 1, .in = in, .out = out, .kernel_h = 1, .kernel_w = 1};
}

}  // namespace pare
