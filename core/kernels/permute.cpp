#include "core/kernels/highway.h"
//
#include <algorithm>

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

void Columns(const float* x, const int32_t* from, float* y, int64_t rows, int64_t n) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
      hn::StoreU(hn::GatherIndex(d, x, hn::LoadU(di, from + i)), d, y + i);
    }
    for (; i < n; ++i) y[i] = x[from[i]];
  }
}

void Transpose(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* y,
               int64_t y_stride) {
  // Tiles, so that a cache line of x serves all of its columns while it is near.
  constexpr int64_t kRows = 64, kColumns = 16;
  for (int64_t i = 0; i < rows; i += kRows) {
    const int64_t height = std::min(kRows, rows - i);
    for (int64_t j = 0; j < columns; j += kColumns) {
      const int64_t end = std::min(j + kColumns, columns);
      for (int64_t k = j; k < end; ++k) {
        Strided(x + i * x_stride + k, x_stride, y + k * y_stride + i, height);
      }
    }
  }
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {

HWY_EXPORT(Strided);
HWY_EXPORT(Columns);
HWY_EXPORT(Transpose);

void gather_strided(const float* x, int64_t stride, float* y, int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Strided)(x, stride, y, n);
}

void gather_columns(const float* x, const int32_t* from, float* y, int64_t rows,
                    int64_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(Columns)(x, from, y, rows, n);
}

void transpose(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* y,
               int64_t y_stride) noexcept {
  HWY_DYNAMIC_DISPATCH(Transpose)(x, x_stride, rows, columns, y, y_stride);
}

}  // namespace pare::kernels
#endif
