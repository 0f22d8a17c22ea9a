#include "core/kernels/highway.h"
//
#include <algorithm>
#include <cstring>

#include "core/kernels/permute.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/permute.cpp"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void Strided(const float* x, int64_t stride, float* y, int64_t n) {
  if (stride == 1) {
    std::memcpy(y, x, static_cast<size_t>(n) * sizeof(float));
    return;
  }
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto index = hn::Mul(hn::Iota(di, 0), hn::Set(di, static_cast<int32_t>(stride)));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::GatherIndex(d, x + i * stride, index), d, y + i);
  }
  for (; i < n; ++i) y[i] = x[i * stride];
}

/// y[k G + g] = x[g each + k]: G vectors are interleaved.
template <int G>
HWY_INLINE void Interleave(const float* x, int64_t each, float* y) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t k = 0;
  for (; k + lanes <= each; k += lanes) {
    const auto a = hn::LoadU(d, x + k), b = hn::LoadU(d, x + each + k);
    if constexpr (G == 2) {
      hn::StoreInterleaved2(a, b, d, y + k * G);
    } else {
      const auto c = hn::LoadU(d, x + 2 * each + k), e = hn::LoadU(d, x + 3 * each + k);
      hn::StoreInterleaved4(a, b, c, e, d, y + k * G);
    }
  }
  for (; k < each; ++k) {
    for (int64_t g = 0; g < G; ++g) y[k * G + g] = x[g * each + k];
  }
}

/// y[k each + g] = x[g G + k]: the way back.
template <int G>
HWY_INLINE void Deinterleave(const float* x, int64_t each, float* y) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t k = 0;
  for (; k + lanes <= each; k += lanes) {
    hn::Vec<decltype(d)> a, b, c, e;
    if constexpr (G == 2) {
      hn::LoadInterleaved2(d, x + k * G, a, b);
    } else {
      hn::LoadInterleaved4(d, x + k * G, a, b, c, e);
      hn::StoreU(c, d, y + 2 * each + k);
      hn::StoreU(e, d, y + 3 * each + k);
    }
    hn::StoreU(a, d, y + k);
    hn::StoreU(b, d, y + each + k);
  }
  for (; k < each; ++k) {
    for (int64_t g = 0; g < G; ++g) y[g * each + k] = x[k * G + g];
  }
}

HWY_INLINE void Pick(const float* x, const int32_t* from, float* y, int64_t n) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::GatherIndex(d, x, hn::LoadU(di, from + i)), d, y + i);
  }
  for (; i < n; ++i) y[i] = x[from[i]];
}

void ShuffleRows(const Shuffle& s, const float* x, float* y, int64_t rows) {
  const int64_t n = s.size();
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    if (s.groups == 2) {
      Interleave<2>(x, s.each, y);
    } else if (s.groups == 4) {
      Interleave<4>(x, s.each, y);
    } else if (s.each == 2) {
      Deinterleave<2>(x, s.groups, y);
    } else if (s.each == 4) {
      Deinterleave<4>(x, s.groups, y);
    } else {
      Pick(x, s.from.data(), y, n);
    }
  }
}

void Transpose(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* y,
               int64_t y_stride) {
  // Tiles side by side, since rows of x often lie a power of two apart and share few sets of L1.
  constexpr int64_t kRows = 64, kColumns = 16;
  float tile[kRows * kColumns];
  for (int64_t i = 0; i < rows; i += kRows) {
    const int64_t height = std::min(kRows, rows - i);
    for (int64_t j = 0; j < columns; j += kColumns) {
      const int64_t width = std::min(kColumns, columns - j);
      for (int64_t r = 0; r < height; ++r) {
        const float* row = x + (i + r) * x_stride + j;
        __builtin_prefetch(row + kColumns);  // who transposes a part of a matrix goes on there
        std::memcpy(tile + r * kColumns, row, static_cast<size_t>(width) * sizeof(float));
      }
      for (int64_t k = 0; k < width; ++k) {
        Strided(tile + k, kColumns, y + (j + k) * y_stride + i, height);
      }
    }
  }
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(Strided);
HWY_EXPORT(ShuffleRows);
HWY_EXPORT(Transpose);

void gather_strided(const float* x, int64_t stride, float* y, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Strided)(x, stride, y, n);
}

Shuffle::Shuffle(int64_t group_count, int64_t group_size) : groups(group_count), each(group_size) {
  for (int64_t i = 0; i < size(); ++i) {
    from.push_back(static_cast<int32_t>(i % groups * each + i / groups));
  }
}

void shuffle_columns(const Shuffle& s, const float* x, float* y, int64_t rows) noexcept {
  HWY_DYNAMIC_DISPATCH(ShuffleRows)(s, x, y, rows);
}

void transpose(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* y,
               int64_t y_stride) noexcept {
  HWY_DYNAMIC_DISPATCH(Transpose)(x, x_stride, rows, columns, y, y_stride);
}

}  // namespace pare::kernels
#endif
