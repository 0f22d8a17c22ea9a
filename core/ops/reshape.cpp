// Other shapes and other orders of the same values; the gradient goes back the same way.

#include <algorithm>
#include <numeric>

#include "core/autograd.h"
#include "core/deferred.h"
#include "core/error.h"
#include "core/kernels/permute.h"
#include "core/ops.h"
#include "core/ops/common.h"
#include "core/ops/show.h"
#include "core/scratch.h"

namespace pare {

namespace {

/// [n, rows, columns] -> [n, columns, rows], in the given shape.
Tensor swap_inner(const Tensor& x, int64_t n, int64_t rows, int64_t columns, const Shape& shape) {
  if (rows == 1 || columns == 1) return x.view(shape);
  Tensor y = Tensor::uninit(shape);
  const float* from = x.data();
  float* to = y.data();
  // A task is a run of output rows, whole cache lines of the input wide.
  constexpr int64_t kWidth = 16;
  const int64_t strips = (columns + kWidth - 1) / kWidth;
  parallel_for(n * strips, rows_per_task(rows * kWidth), [&](Range r) {
    for (int64_t unit = r.begin; unit < r.end; ++unit) {
      const int64_t k = unit / strips, first = unit % strips * kWidth;
      const int64_t offset = k * rows * columns;
      kernels::transpose(from + offset + first, columns, rows, std::min(kWidth, columns - first),
                         to + offset + first * rows, rows);
    }
  });
  return y;
}

/// x with its channels in another order: made on the way by a reader that copies its input, or in
/// the blocks of x while they are in cache.
struct Shuffled final : Deferred {
  Tensor x;
  kernels::Shuffle order;
  bool in_blocks;  // nobody else reads x

  Shuffled(const Tensor& from, const kernels::Shuffle& s, bool alone)
      : x(from), order(s), in_blocks(alone && pending_blocks(from) > 0) {}

  void run(float* y) const override {
    const auto pending = x.pending();  // the source points into it
    const kernels::Source from = *source();
    const int64_t channels = order.size(), rows = x.numel() / channels;
    constexpr int64_t kRows = 32;
    parallel_for((rows + kRows - 1) / kRows, rows_per_task(kRows * channels), [&](Range r) {
      for (int64_t row = r.begin * kRows; row < std::min(r.end * kRows, rows); row += kRows) {
        from.load(row, std::min(kRows, rows - row), channels, y + row * channels);
      }
    });
  }

  int64_t blocks() const override { return in_blocks ? pending_blocks(x) : 0; }
  void run(float* y, BlockVisitor visit) const override {
    const auto shuffle = [&](const Block& b) {
      const int64_t n = order.size();
      Scratch scratch;
      float* row = scratch.floats(n);
      for (int64_t i = 0; i < b.rows; ++i) {
        std::copy_n(b.values + i * n, n, row);
        kernels::shuffle_columns(order, row, b.values + i * n, 1);
      }
      visit(b);
    };
    x.pending()->run(y, {shuffle, visit.reads()});
  }

  std::optional<kernels::Source> source() const override {
    kernels::Source from = source_of(x);
    if (from.shuffle) from = {x.data()};  // one order at a time
    from.shuffle = &order;
    return from;
  }
};

Tensor shuffled(const Tensor& x, const kernels::Shuffle& order, bool alone) {
  return Tensor::deferred(x.shape(), std::make_shared<Shuffled>(x.detach(), order, alone), {x});
}

}  // namespace

Tensor reshape(const Tensor& x, const Shape& shape) {
  PARE_CHECK(shape.numel() == x.numel(), "reshape: got ", x.numel(), " elements, expected ",
             shape.numel(), " for ", shape, operand("x", x));
  return record(
      "reshape", x.view(shape), {x},
      [before = x.shape()](const Tensor& dy, Needs) -> Grads { return {dy.view(before)}; });
}

Tensor flatten(const Tensor& x) {
  PARE_CHECK(x.dims() >= 2, "flatten: got ", x.shape(), ", expected [N, ..., C]");
  const int64_t n = x.dim(0), channels = x.dim(-1);
  int64_t pixels = 1;
  for (int i = 1; i + 1 < x.dims(); ++i) pixels *= x.dim(i);
  Tensor y = swap_inner(x, n, pixels, channels, {n, channels * pixels});
  y.set_grid(x.grid());
  return record("flatten", y, {x},
                [n, pixels, channels, before = x.shape()](const Tensor& dy, Needs) -> Grads {
                  return {swap_inner(dy, n, channels, pixels, before)};
                });
}

Tensor transpose(const Tensor& x) {
  PARE_CHECK(x.dims() == 2, "transpose: got ", x.shape(), ", expected [M, N]");
  const Tensor y = swap_inner(x, 1, x.dim(0), x.dim(1), {x.dim(1), x.dim(0)});
  return record("transpose", y, {x},
                [](const Tensor& dy, Needs) -> Grads { return {transpose(dy)}; });
}

Tensor permute(const Tensor& x, const std::vector<int>& order) {
  const size_t dims = order.size();
  std::vector<int64_t> stride(dims, 1), sizes(dims), step(dims);
  std::vector<int> inverse(dims);
  for (int i = x.dims() - 2; i >= 0; --i) {
    stride[static_cast<size_t>(i)] = stride[static_cast<size_t>(i + 1)] * x.dim(i + 1);
  }
  for (size_t i = 0; i < dims; ++i) {
    sizes[i] = x.dim(order[i]);
    step[i] = stride[static_cast<size_t>(order[i])];
    inverse[static_cast<size_t>(order[i])] = static_cast<int>(i);
  }
  Tensor y = Tensor::uninit(Shape(sizes));
  const float* from = x.data();
  float* to = y.data();
  const int64_t inner = sizes.back();
  if (inner > 0) {
    parallel_for(x.numel() / inner, rows_per_task(inner), [&](Range r) {
      for (int64_t row = r.begin; row < r.end; ++row) {
        int64_t offset = 0, rest = row;
        for (size_t i = dims - 1; i-- > 0; rest /= sizes[i]) offset += rest % sizes[i] * step[i];
        kernels::gather_strided(from + offset, step.back(), to + row * inner, inner);
      }
    });
  }
  return record("permute", {{"order", Shape(std::vector<int64_t>(order.begin(), order.end()))}}, y,
                {x},
                [inverse](const Tensor& dy, Needs) -> Grads { return {permute(dy, inverse)}; });
}

Tensor channel_shuffle(const Tensor& x, int groups) {
  const int64_t channels = x.dim(-1);
  PARE_CHECK(groups >= 1 && channels > 0 && channels % groups == 0, "channel_shuffle: ", channels,
             " channels do not divide into ", groups, " groups", operand("x", x));
  const kernels::Shuffle order(groups, channels / groups);
  Tensor y = shuffled(x, order, false);
  y.set_grid(x.grid());
  return record("channel_shuffle", {{"groups", groups}}, y, {x},
                [back = order.inverse()](const Tensor& dy, Needs) -> Grads {
                  return {shuffled(dy, back, dy.unique())};
                });
}

}  // namespace pare
