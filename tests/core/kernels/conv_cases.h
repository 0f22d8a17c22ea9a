#pragma once
// Shapes that reach each path of the convolution passes: halo and in place, joined and separate
// taps, stride phases with and without taps, panels and tails of every width.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/kernels/conv.h"
#include "core/tensor.h"

namespace pare::conv_cases {

using kernels::ConvShape;

inline const std::vector<ConvShape>& shapes() {
  static const std::vector<ConvShape> list = {
      // images, height, width, in, out, kernel, kernel, stride, stride, pad, pad, dilation,
      // dilation, groups
      {2, 9, 7, 3, 16, 5, 5, 1, 1, 2, 2, 1, 1, 1},    // first layer of NIN
      {1, 19, 17, 3, 20, 7, 7, 2, 2, 3, 3, 1, 1, 1},  // first layer of an ImageNet net
      {2, 8, 8, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},
      {1, 7, 7, 37, 29, 3, 3, 1, 1, 1, 1, 1, 1, 1},  // nothing divides anything
      {2, 5, 6, 20, 49, 3, 3, 1, 1, 0, 0, 1, 1, 1},  // in place, spatial kernel
      {3, 4, 5, 33, 65, 1, 1, 1, 1, 0, 0, 1, 1, 1},  // flat
      {2, 9, 9, 12, 24, 1, 1, 2, 2, 0, 0, 1, 1, 1},  // phases without a tap
      {2, 9, 8, 16, 40, 3, 3, 2, 2, 1, 1, 1, 1, 1},
      {1, 11, 10, 5, 7, 4, 3, 3, 2, 2, 1, 1, 1, 1},  // everything different per axis
      {1, 12, 12, 8, 8, 3, 3, 1, 1, 2, 2, 2, 2, 1},  // dilation
      {1, 13, 13, 6, 9, 3, 3, 2, 2, 2, 2, 2, 2, 1},  // dilation and stride share a factor
      {1, 13, 11, 6, 9, 3, 3, 3, 3, 2, 2, 2, 2, 1},  // and where they do not
      {2, 6, 6, 32, 64, 3, 3, 1, 1, 1, 1, 1, 1, 4},  // groups
      {1, 6, 6, 12, 6, 1, 1, 1, 1, 0, 0, 1, 1, 3},
      {2, 8, 7, 19, 19, 3, 3, 1, 1, 1, 1, 1, 1, 19},  // depthwise
      {1, 9, 9, 40, 40, 3, 3, 2, 2, 1, 1, 1, 1, 40},
      {1, 9, 9, 8, 8, 3, 3, 1, 1, 2, 2, 2, 2, 8},
      {1, 6, 6, 4, 8, 3, 3, 1, 1, 1, 1, 1, 1, 4},      // channel multiplier
      {1, 4, 4, 3, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1},      // padding around 1x1
      {1, 3, 3, 4, 4, 3, 3, 1, 1, 4, 4, 1, 1, 1},      // padding wider than the kernel
      {7, 5, 4, 96, 80, 3, 3, 1, 1, 1, 1, 1, 1, 1},    // wide pixels, several images in a block
      {5, 6, 6, 80, 96, 1, 1, 1, 1, 0, 0, 1, 1, 1},    // the same, flat
      {3, 6, 6, 160, 160, 1, 1, 1, 1, 0, 0, 1, 1, 2},  // and in groups
  };
  return list;
}

inline std::string name(const ConvShape& s) {
  return str("x ", s.images, "x", s.height, "x", s.width, "x", s.in, " out ", s.out, " kernel ",
             s.kernel_h, "x", s.kernel_w, " stride ", s.stride_h, " pad ", s.pad_h, " dilation ",
             s.dilation_h, " groups ", s.groups);
}

/// Largest |got - want| in units of the largest |want|: a sum of n products in float32 is off by
/// about sqrt(n) * 6e-8 of its terms; the longest here has 20 * 9 terms.
inline double gap(const Tensor& got, const std::vector<double>& want) {
  double worst = 0, scale = 1e-30;
  for (size_t i = 0; i < want.size(); ++i) {
    worst = std::max(worst, std::abs(got.data()[i] - want[i]));
    scale = std::max(scale, std::abs(want[i]));
  }
  return got.numel() == static_cast<int64_t>(want.size()) ? worst / scale : 1e30;
}
inline constexpr double kTolerance = 3e-6;

}  // namespace pare::conv_cases
