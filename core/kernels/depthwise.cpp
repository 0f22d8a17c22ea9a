#include "core/kernels/depthwise.h"

#include <algorithm>

#include "core/kernels/highway.h"
#include "core/scratch.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/depthwise.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// acc[c] += a[c] * b[c]
void MulAddInto(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, float* HWY_RESTRICT acc,
                size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), hn::LoadU(d, acc + i)), d,
               acc + i);
  }
  const hn::CappedTag<float, 1> one;
  for (; i < n; ++i) {
    hn::StoreU(hn::MulAdd(hn::LoadU(one, a + i), hn::LoadU(one, b + i), hn::LoadU(one, acc + i)),
               one, acc + i);
  }
}

/// acc[c] += a[c]
void AddInto(const float* HWY_RESTRICT a, float* HWY_RESTRICT acc, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Add(hn::LoadU(d, a + i), hn::LoadU(d, acc + i)), d, acc + i);
  }
  for (; i < n; ++i) acc[i] += a[i];
}

/// y[p] = bias + sum over taps of x[p * step + tap.x] * w[tap.w], the taps of all pixels being the
/// same: the accumulators of kPixels pixels stay in registers while a weight vector is loaded once
/// for all.
struct Taps {
  const int64_t* x;
  const int64_t* w;
  int64_t count;
};

template <int kPixels>
HWY_ATTR void InnerPixels(const float* x, int64_t step, const float* w, const float* bias,
                          const Taps& taps, int64_t channels, float* y) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) {
    const auto start = bias ? hn::LoadU(d, bias + c) : hn::Zero(d);
    auto a0 = start, a1 = start, a2 = start, a3 = start;
    for (int64_t t = 0; t < taps.count; ++t) {
      const float* p = x + taps.x[t] + c;
      const auto weight = hn::LoadU(d, w + taps.w[t] + c);
      a0 = hn::MulAdd(hn::LoadU(d, p), weight, a0);
      if (kPixels > 1) {
        a1 = hn::MulAdd(hn::LoadU(d, p + step), weight, a1);
        a2 = hn::MulAdd(hn::LoadU(d, p + 2 * step), weight, a2);
        a3 = hn::MulAdd(hn::LoadU(d, p + 3 * step), weight, a3);
      }
    }
    hn::StoreU(a0, d, y + c);
    if (kPixels > 1) {
      hn::StoreU(a1, d, y + channels + c);
      hn::StoreU(a2, d, y + 2 * channels + c);
      hn::StoreU(a3, d, y + 3 * channels + c);
    }
  }
  const hn::CappedTag<float, 1> one;
  for (; c < channels; ++c) {
    for (int64_t p = 0; p < kPixels; ++p) {
      auto a = bias ? hn::LoadU(one, bias + c) : hn::Zero(one);
      for (int64_t t = 0; t < taps.count; ++t) {
        a = hn::MulAdd(hn::LoadU(one, x + p * step + taps.x[t] + c),
                       hn::LoadU(one, w + taps.w[t] + c), a);
      }
      hn::StoreU(a, one, y + p * channels + c);
    }
  }
}

void DepthwisePixels(const float* x, int64_t step, const float* w, const float* bias,
                     const int64_t* tap_x, const int64_t* tap_w, int64_t taps, int64_t channels,
                     int64_t pixels, float* y) {
  const Taps list{tap_x, tap_w, taps};
  int64_t p = 0;
  for (; p + 4 <= pixels; p += 4)
    InnerPixels<4>(x + p * step, step, w, bias, list, channels, y + p * channels);
  for (; p < pixels; ++p)
    InnerPixels<1>(x + p * step, step, w, bias, list, channels, y + p * channels);
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(MulAddInto);
HWY_EXPORT(AddInto);
HWY_EXPORT(DepthwisePixels);

namespace {

/// The taps that reach output `o` along one axis: first and last kernel index with an input inside.
struct Reach {
  int64_t begin, end;
};
Reach reach(int64_t o, int64_t stride, int64_t pad, int64_t dilation, int64_t kernel,
            int64_t size) {
  const int64_t start = o * stride - pad;
  int64_t begin = start < 0 ? (-start + dilation - 1) / dilation : 0;
  int64_t end = start >= size ? 0 : std::min(kernel, (size - 1 - start) / dilation + 1);
  begin = std::min(begin, kernel);
  return {begin, std::max(begin, end)};
}

}  // namespace

Tensor depthwise_pack(const ConvShape& s, const Tensor& w) {
  const int64_t taps = s.kernel_h * s.kernel_w;
  Tensor packed = Tensor::uninit({taps, s.in});
  const float* from = w.data();
  float* to = packed.data();
  for (int64_t c = 0; c < s.in; ++c) {
    for (int64_t t = 0; t < taps; ++t) to[t * s.in + c] = from[c * taps + t];
  }
  return packed;
}

void depthwise_row(const ConvShape& s, const float* x, const float* w, const float* bias,
                   int64_t index, float* y) noexcept {
  const int64_t ow = s.out_w(), image = index / s.out_h(), row = index % s.out_h(), C = s.in;
  const Reach v = reach(row, s.stride_h, s.pad_h, s.dilation_h, s.kernel_h, s.height);
  x += image * s.height * s.width * C;
  y += index * ow * C;
  Scratch scratch;
  const auto most = static_cast<size_t>(s.kernel_h * s.kernel_w) * sizeof(int64_t);
  auto* tap_x = static_cast<int64_t*>(scratch.bytes(most));
  auto* tap_w = static_cast<int64_t*>(scratch.bytes(most));
  for (int64_t col = 0; col < ow;) {
    const Reach h = reach(col, s.stride_w, s.pad_w, s.dilation_w, s.kernel_w, s.width);
    int64_t end = col + 1;  // pixels that the same taps reach
    while (end < ow) {
      const Reach next = reach(end, s.stride_w, s.pad_w, s.dilation_w, s.kernel_w, s.width);
      if (next.begin != h.begin || next.end != h.end) break;
      ++end;
    }
    int64_t taps = 0;
    for (int64_t a = v.begin; a < v.end; ++a) {
      for (int64_t b = h.begin; b < h.end; ++b, ++taps) {
        tap_x[taps] = ((row * s.stride_h - s.pad_h + a * s.dilation_h) * s.width +
                       col * s.stride_w - s.pad_w + b * s.dilation_w) *
                      C;
        tap_w[taps] = (a * s.kernel_w + b) * C;
      }
    }
    HWY_DYNAMIC_DISPATCH(DepthwisePixels)
    (x, s.stride_w * C, w, bias, tap_x, tap_w, taps, C, end - col, y + col * C);
    col = end;
  }
}

void depthwise_data_gradient_row(const ConvShape& s, const float* dy, const float* w,
                                 const float* bias, int64_t index, float* dx) noexcept {
  const int64_t oh = s.out_h(), ow = s.out_w(), image = index / s.height, row = index % s.height,
                C = s.in;
  dy += image * oh * ow * C;
  dx += index * s.width * C;
  for (int64_t col = 0; col < s.width; ++col, dx += C) {
    if (bias) {
      std::copy(bias, bias + C, dx);
    } else {
      std::fill(dx, dx + C, 0.0f);
    }
    for (int64_t a = 0; a < s.kernel_h; ++a) {
      const int64_t from_row = row + s.pad_h - a * s.dilation_h;
      if (from_row < 0 || from_row % s.stride_h != 0 || from_row / s.stride_h >= oh) continue;
      for (int64_t b = 0; b < s.kernel_w; ++b) {
        const int64_t from_col = col + s.pad_w - b * s.dilation_w;
        if (from_col < 0 || from_col % s.stride_w != 0 || from_col / s.stride_w >= ow) continue;
        HWY_DYNAMIC_DISPATCH(MulAddInto)
        (dy + (from_row / s.stride_h * ow + from_col / s.stride_w) * C,
         w + (a * s.kernel_w + b) * C, dx, static_cast<size_t>(C));
      }
    }
  }
}

void depthwise_weight_gradient(const ConvShape& s, const float* x, const float* dy, int64_t first,
                               int64_t last, float* dw, float* db) noexcept {
  const int64_t oh = s.out_h(), ow = s.out_w(), C = s.in, taps = s.kernel_h * s.kernel_w;
  Scratch scratch;
  float* sums = scratch.floats(taps * C);  // [kh, kw, C]
  std::fill(sums, sums + taps * C, 0.0f);
  for (int64_t image = first; image < last; ++image) {
    const float* image_x = x + image * s.height * s.width * C;
    for (int64_t row = 0; row < oh; ++row) {
      const Reach v = reach(row, s.stride_h, s.pad_h, s.dilation_h, s.kernel_h, s.height);
      for (int64_t col = 0; col < ow; ++col) {
        const Reach h = reach(col, s.stride_w, s.pad_w, s.dilation_w, s.kernel_w, s.width);
        const float* g = dy + ((image * oh + row) * ow + col) * C;
        if (db) HWY_DYNAMIC_DISPATCH(AddInto)(g, db, static_cast<size_t>(C));
        for (int64_t a = v.begin; a < v.end; ++a) {
          const float* line =
              image_x + (row * s.stride_h - s.pad_h + a * s.dilation_h) * s.width * C;
          for (int64_t b = h.begin; b < h.end; ++b) {
            HWY_DYNAMIC_DISPATCH(MulAddInto)
            (g, line + (col * s.stride_w - s.pad_w + b * s.dilation_w) * C,
             sums + (a * s.kernel_w + b) * C, static_cast<size_t>(C));
          }
        }
      }
    }
  }
  for (int64_t t = 0; t < taps; ++t) {
    for (int64_t c = 0; c < C; ++c) dw[c * taps + t] += sums[t * C + c];
  }
}

}  // namespace pare::kernels
#endif
