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

constexpr int kLanes = HWY_LANES(float);

#if HWY_TARGET != HWY_SCALAR  // whose vectors are one number
using Df = hn::ScalableTag<float>;
using Vf = hn::Vec<Df>;
constexpr int kBlocks = kLanes / 4;  // of 128 bits

/// Columns of four rows: block b of t[j] is column 4 b + j.
HWY_INLINE void FourRows(const Vf (&x)[4], Vf* t) {
  const Df d;
  const hn::Repartition<double, Df> pair;
  const auto pairs = [&](Vf v) HWY_ATTR { return hn::BitCast(pair, v); };
  const auto low = pairs(hn::InterleaveLower(d, x[0], x[1]));
  const auto high = pairs(hn::InterleaveUpper(d, x[0], x[1]));
  const auto low2 = pairs(hn::InterleaveLower(d, x[2], x[3]));
  const auto high2 = pairs(hn::InterleaveUpper(d, x[2], x[3]));
  t[0] = hn::BitCast(d, hn::InterleaveLower(pair, low, low2));
  t[1] = hn::BitCast(d, hn::InterleaveUpper(pair, low, low2));
  t[2] = hn::BitCast(d, hn::InterleaveLower(pair, high, high2));
  t[3] = hn::BitCast(d, hn::InterleaveUpper(pair, high, high2));
}

/// put(b, v): v is block b of all x, one behind the other.
template <class Put>
HWY_INLINE void ShareBlocks(const Vf* x, Put put) {
  const Df d;
  if constexpr (kBlocks == 1) {
    put(0, x[0]);
  } else if constexpr (kBlocks == 2) {
    put(0, hn::ConcatLowerLower(d, x[4], x[0]));
    put(1, hn::ConcatUpperUpper(d, x[4], x[0]));
  } else {
    const auto even = [&](Vf a, Vf b)
                          HWY_ATTR { return hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), a); };
    const auto odd = [&](Vf a, Vf b)
                         HWY_ATTR { return hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(a)); };
    const Vf even0 = even(x[0], x[4]), even1 = even(x[8], x[12]);
    const Vf odd0 = odd(x[0], x[4]), odd1 = odd(x[8], x[12]);
    put(0, hn::ConcatLowerLower(d, even1, even0));
    put(1, hn::ConcatLowerLower(d, odd1, odd0));
    put(2, hn::ConcatUpperUpper(d, even1, even0));
    put(3, hn::ConcatUpperUpper(d, odd1, odd0));
  }
}

/// A square of as many rows as a vector has lanes, in registers.
HWY_INLINE void TransposeSquare(const float* x, int64_t x_stride, float* y, int64_t y_stride) {
  const Df d;
  Vf t[kLanes];  // t[4 g + j]: of the rows from 4 g on
#pragma GCC unroll 4
  for (int g = 0; g < kBlocks; ++g) {
    Vf rows[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) rows[r] = hn::LoadU(d, x + (4 * g + r) * x_stride);
    FourRows(rows, t + 4 * g);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    ShareBlocks(t + j, [&](int b, Vf v) HWY_ATTR { hn::StoreU(v, d, y + (4 * b + j) * y_stride); });
  }
}
#endif

HWY_NOINLINE void TransposeEdge(const float* x, int64_t x_stride, int64_t rows, int64_t columns,
                                float* y, int64_t y_stride) {
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i) y[j * y_stride + i] = x[i * x_stride + j];
  }
}

void Transpose(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* y,
               int64_t y_stride) {
  constexpr int64_t kLine = 16;
  for (int64_t i = 0; i < rows; i += kLanes) {
    const int64_t height = std::min<int64_t>(kLanes, rows - i);
    for (int64_t j = 0; j < columns; j += kLanes) {
      const int64_t width = std::min<int64_t>(kLanes, columns - j);
      const float* from = x + i * x_stride + j;
      float* to = y + j * y_stride + i;
      // Who transposes a part of a matrix goes on there.
      for (int64_t r = 0; r < height; ++r) __builtin_prefetch(from + r * x_stride + kLine);
#if HWY_TARGET != HWY_SCALAR
      if (height == kLanes && width == kLanes) {
        TransposeSquare(from, x_stride, to, y_stride);
        continue;
      }
#endif
      TransposeEdge(from, x_stride, height, width, to, y_stride);
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
