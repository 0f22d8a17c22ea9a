#include "core/kernels/windows.h"

#include "core/kernels/highway.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/windows.cpp"
#include "hwy/foreach_target.h"
//
#include "core/kernels/map-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pare::kernels::HWY_NAMESPACE {

void CopyWindows(const float* base, const Windows& w, float* to) {
  const hn::ScalableTag<float> d;
  for (int64_t i = 0; i < w.rows; ++i) {
    for (int64_t j = 0; j < w.cols; ++j) {
      const float* window = base + i * w.x_row + j * w.x_col;
      for (int64_t t = 0; t < w.count; ++t, to += w.run) {
        Map(
            d, to, w.run, [](auto v) HWY_ATTR { return v; }, window + w.taps[t]);
      }
      for (int64_t k = 0; k < w.padding; ++k) *to++ = 0;
    }
  }
}

}  // namespace pare::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pare::kernels {
HWY_EXPORT(CopyWindows);
void copy_windows(const float* base, const Windows& w, float* to) noexcept {
  HWY_DYNAMIC_DISPATCH(CopyWindows)(base, w, to);
}
}  // namespace pare::kernels
#endif
