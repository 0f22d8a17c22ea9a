#pragma once
// What several ops share. Private to core/ops.

#include <vector>

#include "core/parallel.h"
#include "core/tensor.h"

namespace pare {

/// Where an element-wise backward may put its result: dy itself when nobody else can see it.
inline Tensor reuse(const Tensor& dy) { return dy.unique() ? dy : Tensor::uninit(dy.shape()); }

/// Rows of `each` elements that make a task worth handing to a thread.
inline int64_t rows_per_task(int64_t each) {
  return each >= kGrain ? 1 : kGrain / (each > 0 ? each : 1);
}

/// The sum of f over chunks of [0, n): chunks depend on n alone and are added up in order.
double sum_in_chunks(int64_t n, FunctionRef<double(Range)> f);

/// out[i] = sum over the parts of sums[part][i], in order.
void add_parts(const Tensor& sums, int64_t parts, Tensor& out);

/// dy summed over the axes along which an operand of this shape was broadcast.
Tensor sum_to(const Tensor& dy, const Shape& shape);

/// Axes in a new order: y.dim(i) = x.dim(order[i]).
Tensor permute(const Tensor& x, const std::vector<int>& order);

/// "axis" of a tensor with `dims` dimensions, counted from the front; an error names the op.
int checked_axis(const char* op, const Tensor& x, int axis);

}  // namespace pare
