#pragma once
// Depthwise convolution (one input channel per group): no reduction over channels, so vectors run
// along them.

#include "core/kernels/conv.h"
#include "core/tensor.h"

namespace pare::kernels {

/// w [C, kh, kw, 1] -> [kh, kw, C]
Tensor depthwise_pack(const ConvShape& s, const Tensor& w);

/// Row `index` of images x out_h. y[o] = bias + sum_k w[k] x[o stride + k dilation - pad]
void depthwise_row(const ConvShape& s, const float* x, const float* w, const float* bias,
                   int64_t index, float* y) noexcept;
/// Row `index` of images x height. dx[i] = bias + sum_k w[k] dy[(i + pad - k dilation) / stride]
/// where it divides
void depthwise_data_gradient_row(const ConvShape& s, const float* dy, const float* w,
                                 const float* bias, int64_t index, float* dx) noexcept;
/// dw [C, kh, kw, 1] += sum over images [first, last); db [C] likewise unless null
void depthwise_weight_gradient(const ConvShape& s, const float* x, const float* dy, int64_t first,
                               int64_t last, float* dw, float* db) noexcept;

}  // namespace pare::kernels
