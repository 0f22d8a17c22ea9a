#pragma once
// Pooling of one image [H, W, C], a row of outputs (forward) or of inputs (backward) at a time.
// Backward gathers from the windows that cover an input, so rows are independent of each other.

#include <algorithm>
#include <cstdint>

namespace pare::kernels {

/// One axis: output o sees inputs o * stride - pad + [0, kernel).
struct PoolAxis {
  int64_t in, out, kernel, stride, pad;

  struct Span {
    int64_t begin, end;
  };
  /// Inputs that window o sees.
  Span inputs(int64_t o) const {
    const int64_t start = o * stride - pad;
    return {std::max<int64_t>(start, 0), std::min(start + kernel, in)};
  }
  /// Windows that see input i.
  Span windows(int64_t i) const {
    const int64_t first = i + pad - kernel + 1;
    return {first > 0 ? (first + stride - 1) / stride : 0, std::min((i + pad) / stride + 1, out)};
  }
  /// Positions a mean over window o counts.
  int64_t counted(int64_t o, bool include_pad) const {
    if (!include_pad) return inputs(o).end - inputs(o).begin;
    const int64_t start = o * stride - pad;
    return std::min(start + kernel, in + pad) - start;
  }
};

struct PoolGeometry {
  PoolAxis h, w;
  int64_t channels;
};

/// Where in its window a maximum was found: row * kernel width + column. One byte where that is
/// enough.
using TapIndex8 = uint8_t;
using TapIndex32 = int32_t;

/// y [OW, C] = the maxima of output row `oy`, the first one of equals, NaN above all. `tap` [OW, C]
/// may be null.
void max_pool(const float* image, const PoolGeometry& g, int64_t oy, float* y,
              TapIndex8* tap) noexcept;
void max_pool(const float* image, const PoolGeometry& g, int64_t oy, float* y,
              TapIndex32* tap) noexcept;
/// dx [W, C] of input row `iy`; dy and tap are the whole image's [OH, OW, C].
void max_pool_grad(const float* dy, const TapIndex8* tap, const PoolGeometry& g, int64_t iy,
                   float* dx) noexcept;
void max_pool_grad(const float* dy, const TapIndex32* tap, const PoolGeometry& g, int64_t iy,
                   float* dx) noexcept;

/// y [OW, C] = sum over the window / counted positions
void avg_pool(const float* image, const PoolGeometry& g, bool include_pad, int64_t oy,
              float* y) noexcept;
/// dx [W, C] = sum over the windows that see it of dy / counted positions
void avg_pool_grad(const float* dy, const PoolGeometry& g, bool include_pad, int64_t iy,
                   float* dx) noexcept;

}  // namespace pare::kernels
