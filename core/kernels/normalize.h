#pragma once
// Per-channel passes of batch normalization over x [rows, channels]: statistics, the fused forward
// y = f(scale x + shift + residual), and its backward in two passes.

#include <cstdint>

#include "core/kernels/fake_quant.h"
#include "core/kernels/pointwise.h"

namespace pare::kernels {

/// sum[c] = sum over rows of (x - origin[c]), squares[c] = that of (x - origin[c])^2. An origin
/// near the mean keeps the squares from cancelling. min and max of each channel mean nothing where
/// there is a NaN, which the sums tell.
struct ChannelMoments {
  float *sum, *squares, *min, *max;
};
void channel_moments(const float* x, const float* origin, int64_t rows, int64_t channels,
                     const ChannelMoments& out) noexcept;

/// u = scale[c] x + shift[c] (+ residual). `residual` may be null.
struct Affine {
  const float* x;
  const float* residual;
  const float* scale;
  const float* shift;

  /// From element `offset` on, a multiple of the channels.
  Affine at(int64_t offset) const {
    return {x ? x + offset : nullptr, residual ? residual + offset : nullptr, scale, shift};
  }
};

/// What becomes of u: f(u), and that quantized, if `quant` is there.
struct Finish {
  Finish(const Pointwise& function, const FakeQuant* quantizer = nullptr)  // NOLINT: implicit
      : f(function), quant(quantizer) {}
  /// Whether f may be followed by a quantizer in the same pass.
  static bool may_quantize(const Pointwise& f);

  Pointwise f;
  const FakeQuant* quant;
};

/// y = f(u)
void normalize(const Affine& u, const Finish& f, int64_t rows, int64_t channels, float* y) noexcept;

/// g = dy f'(u), written unless g is null (g = dy allowed);
/// sum[c] = sum g, product[c] = sum g (x - mean[c]).
struct GradSums {
  float *sum, *product;
  FakeQuantSums* quant = nullptr;  // those of the quantizer in f, if somebody wants them
};
/// Here and below, a quantizer's min and max must be its window (kernels/fake_quant.h).
void normalize_grad_sums(const Affine& u, const Finish& f, const float* dy, const float* mean,
                         int64_t rows, int64_t channels, float* g, const GradSums& sums) noexcept;

/// dx = a[c] g + b[c] (x - mean[c]) + k[c],  g = dy f'(u).  dx = dy allowed.
struct InputGrad {
  const float* mean;
  const float *a, *b, *k;
};
void normalize_grad_input(const Affine& u, const Finish& f, const float* dy, const InputGrad& grad,
                          int64_t rows, int64_t channels, float* dx) noexcept;

}  // namespace pare::kernels
