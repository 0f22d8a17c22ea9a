#pragma once
// The definition of convolution, in plain loops over double: what the tiled kernels are tested
// against.

#include <vector>

#include "core/kernels/conv.h"

namespace pare::ref {

/// Calls f(y index, x index, w index) for every product of the convolution.
template <class F>
void for_each_product(const kernels::ConvShape& s, F&& f) {
  const int64_t in = s.in / s.groups, out = s.out / s.groups, oh = s.out_h(), ow = s.out_w();
  for (int64_t n = 0; n < s.images; ++n)
    for (int64_t i = 0; i < oh; ++i)
      for (int64_t j = 0; j < ow; ++j)
        for (int64_t o = 0; o < s.out; ++o)
          for (int64_t r = 0; r < s.kernel_h; ++r)
            for (int64_t c = 0; c < s.kernel_w; ++c) {
              const int64_t row = i * s.stride_h + r * s.dilation_h - s.pad_h;
              const int64_t col = j * s.stride_w + c * s.dilation_w - s.pad_w;
              if (row < 0 || row >= s.height || col < 0 || col >= s.width) continue;
              for (int64_t k = 0; k < in; ++k) {
                f(((n * oh + i) * ow + j) * s.out + o,
                  ((n * s.height + row) * s.width + col) * s.in + o / out * in + k,
                  ((o * s.kernel_h + r) * s.kernel_w + c) * in + k);
              }
            }
}

inline std::vector<double> conv_forward(const kernels::ConvShape& s, const float* x, const float* w,
                                        const float* b) {
  std::vector<double> y(static_cast<size_t>(s.images * s.out_h() * s.out_w() * s.out));
  for (size_t i = 0; b && i < y.size(); ++i) y[i] = b[i % static_cast<size_t>(s.out)];
  for_each_product(s, [&](int64_t iy, int64_t ix, int64_t iw) {
    y[static_cast<size_t>(iy)] += double{x[ix]} * w[iw];
  });
  return y;
}

inline std::vector<double> conv_data_gradient(const kernels::ConvShape& s, const float* dy,
                                              const float* w) {
  std::vector<double> dx(static_cast<size_t>(s.images * s.height * s.width * s.in));
  for_each_product(s, [&](int64_t iy, int64_t ix, int64_t iw) {
    dx[static_cast<size_t>(ix)] += double{dy[iy]} * w[iw];
  });
  return dx;
}

inline std::vector<double> conv_weight_gradient(const kernels::ConvShape& s, const float* x,
                                                const float* dy) {
  std::vector<double> dw(static_cast<size_t>(s.out * s.kernel_h * s.kernel_w * (s.in / s.groups)));
  for_each_product(s, [&](int64_t iy, int64_t ix, int64_t iw) {
    dw[static_cast<size_t>(iw)] += double{dy[iy]} * x[ix];
  });
  return dw;
}

}  // namespace pare::ref
