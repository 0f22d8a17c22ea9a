#pragma once
// A weight as rows of equal length, one per filter, and sums over them.

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "core/tensor.h"

namespace pare::quant {

/// Weights come as [out, ...]: one row per output channel, or the whole layer as a single row.
struct Rows {
  int64_t count, length;
  Rows(const char* op, const Tensor& w, bool whole_layer = false) {
    PARE_CHECK(w && w.numel() > 0, op, ": the weight is empty");
    count = whole_layer ? 1 : w.dim(0);
    length = w.numel() / count;
  }
  /// Rows worth handing to a thread.
  int64_t grain() const { return length >= kGrain ? 1 : (kGrain + length - 1) / length; }
};

/// sum_i term(i) in double. Eight fixed lanes: independent additions overlap, and the order never
/// changes.
template <class Term>
double sum_over(int64_t n, Term&& term) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int64_t k = 0; k < 8; ++k) lanes[k] += static_cast<double>(term(i + k));
  }
  for (int64_t k = 0; i < n; ++i, ++k) lanes[k] += static_cast<double>(term(i));
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

inline float mean_abs(const float* x, int64_t n) {
  return static_cast<float>(sum_over(n, [x](int64_t i) { return std::fabs(x[i]); }) /
                            static_cast<double>(n));
}

/// Of codes -1, (0,) 1 times a scale: that scale of each row, 0 where all is zero.
std::vector<float> row_scales(const Rows& rows, const Tensor& y);

}  // namespace pare::quant
