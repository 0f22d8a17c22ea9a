// Parts of a tensor along one axis. Seen from that axis a tensor is [outer, size, inner], and a
// part of it one contiguous run per outer row.

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops.h"
#include "core/ops/common.h"
#include "core/ops/show.h"

namespace pare {

namespace {

struct Runs {
  int64_t outer = 1, inner = 1;

  Runs(const Shape& shape, int axis) {
    for (int i = 0; i < axis; ++i) outer *= shape.dim(i);
    for (int i = axis + 1; i < shape.dims(); ++i) inner *= shape.dim(i);
  }

  /// `count` positions of the axis, from position `at` of x (size `from`) to position `to_at` of y
  /// (size `to`).
  void copy(const float* x, int64_t from, int64_t at, float* y, int64_t to, int64_t to_at,
            int64_t count) const {
    const int64_t run = count * inner;
    if (run == 0) return;
    parallel_for(outer, rows_per_task(run), [&](Range r) {
      for (int64_t o = r.begin; o < r.end; ++o) {
        std::memcpy(y + (o * to + to_at) * inner, x + (o * from + at) * inner,
                    static_cast<size_t>(run) * sizeof(float));
      }
    });
  }

  void fill(float* y, int64_t size, int64_t at, int64_t count, float value) const {
    const int64_t run = count * inner;
    parallel_for(outer, rows_per_task(run), [&](Range r) {
      for (int64_t o = r.begin; o < r.end; ++o) {
        std::fill_n(y + (o * size + at) * inner, run, value);
      }
    });
  }
};

}  // namespace

Tensor concat(const std::vector<Tensor>& parts, int axis) {
  PARE_CHECK(!parts.empty(), "concat: got no parts");
  const int a = checked_axis("concat", parts[0], axis);
  int64_t size = 0;
  for (const Tensor& part : parts) {
    PARE_CHECK(
        part.dims() == parts[0].dims() && part.shape().with(a, 0) == parts[0].shape().with(a, 0),
        "concat: parts differ in more than axis ", axis, operand("first", parts[0]),
        operand("other", part));
    size += part.dim(a);
  }
  const Runs runs(parts[0].shape(), a);
  Tensor y = Tensor::uninit(parts[0].shape().with(a, size));
  std::vector<int64_t> sizes;
  for (int64_t at = 0; const Tensor& part : parts) {
    runs.copy(part.data(), part.dim(a), 0, y.data(), size, at, part.dim(a));
    sizes.push_back(part.dim(a));
    at += part.dim(a);
  }
  return record("concat", {{"axis", a}}, y, parts,
                [a, sizes](const Tensor& dy, Needs need) -> Grads {
                  Grads grads(sizes.size());
                  int64_t at = 0;
                  for (size_t i = 0; i < sizes.size(); at += sizes[i++]) {
                    if (need[i]) grads[i] = slice(dy, a, at, at + sizes[i]);
                  }
                  return grads;
                });
}

std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int axis) {
  const int64_t size = x.dim(checked_axis("split", x, axis));
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  PARE_CHECK(total == size, "split: the sizes add up to ", total, ", axis ", axis, " has ", size,
             operand("x", x));
  std::vector<Tensor> parts;
  for (int64_t at = 0; int64_t each : sizes) {
    parts.push_back(slice(x, axis, at, at + each));
    at += each;
  }
  return parts;
}

Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end) {
  const int a = checked_axis("slice", x, axis);
  const int64_t size = x.dim(a);
  PARE_CHECK(begin >= 0 && begin <= end && end <= size, "slice: got ", begin, " .. ", end,
             ", expected a range within 0 .. ", size, " of axis ", axis, operand("x", x));
  Tensor y = Tensor::uninit(x.shape().with(a, end - begin));
  Runs(x.shape(), a).copy(x.data(), size, begin, y.data(), end - begin, 0, end - begin);
  return record("slice", {{"axis", a}, {"begin", begin}, {"end", end}}, y, {x},
                [a, begin, after = size - end](const Tensor& dy, Needs) -> Grads {
                  return {pad(dy, a, begin, after)};
                });
}

Tensor pad(const Tensor& x, int axis, int64_t before, int64_t after, float value) {
  const int a = checked_axis("pad", x, axis);
  PARE_CHECK(before >= 0 && after >= 0, "pad: got ", before, " before and ", after,
             " after, expected >= 0", operand("x", x));
  const int64_t size = x.dim(a), padded = before + size + after;
  const Runs runs(x.shape(), a);
  Tensor y = Tensor::uninit(x.shape().with(a, padded));
  runs.fill(y.data(), padded, 0, before, value);
  runs.copy(x.data(), size, 0, y.data(), padded, before, size);
  runs.fill(y.data(), padded, before + size, after, value);
  return record("pad", {{"axis", a}, {"before", before}, {"after", after}, {"value", value}}, y,
                {x}, [a, before, size](const Tensor& dy, Needs) -> Grads {
                  return {slice(dy, a, before, before + size)};
                });
}

}  // namespace pare
