#pragma once
// What the losses about features share: rows, distances, sizes.

#include "core/ops.h"

namespace pare::distill {

/// f(0) + ... + f(places - 1); empty without places.
template <class F>
Tensor sum_over_places(size_t places, F&& f) {
  Tensor sum;
  for (size_t i = 0; i < places; ++i) {
    const Tensor here = f(i);
    sum = sum ? sum + here : here;
  }
  return sum;
}

/// [N, ...] -> [N, D], values in the order of memory.
Tensor rows(const Tensor& x);
/// x / max(||x||, 1e-12) for each row of [N, D].
Tensor unit_rows(const Tensor& x);
/// [N, D] -> [N, N]: ||x_i - x_j||^2, zeros on the diagonal.
Tensor squared_distances(const Tensor& x);
/// x / the largest element
Tensor by_maximum(const Tensor& x);
/// [N, H, W, C] -> [N, height, width, C] by averages over equal windows; throws if the sizes do not
/// divide. `who` is named in the error.
Tensor pooled(const Tensor& x, int64_t height, int64_t width, const char* who);
/// Both at the smaller one's height and width.
struct Pair {
  Tensor student, teacher;
};
Pair same_size(const Tensor& student, const Tensor& teacher, const char* who);
/// mean over x of its Huber loss with delta 1: x^2 / 2 up to |x| = 1, |x| - 1/2 beyond
Tensor huber_mean(const Tensor& x);

}  // namespace pare::distill
