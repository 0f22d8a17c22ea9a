#include "core/kernels/bounds.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/deferred.h"
#include "core/error.h"
#include "core/ops.h"
#include "core/scratch.h"

namespace pare {

namespace {

using Parts = std::vector<kernels::Bounds>;

/// Of what is computed into memory anyway, while a block is in cache.
Parts shown_parts(const Tensor& x) {
  Parts parts(static_cast<size_t>(pending_blocks(x)));
  const int64_t C = x.dim(-1);
  settle(x, [&](const Block& b) {
    parts[static_cast<size_t>(b.index)] = kernels::bounds(b.values, b.rows * C);
  });
  return parts;
}

/// Of what is in memory, or computed only to be looked at.
Parts read_parts(const Tensor& x) {
  constexpr int64_t kBlock = 16384;  // elements that are computed at a time, to stay in cache
  const auto pending = x.pending();  // kept until the end: the source points into it
  const kernels::Source from = source_of(x);
  const int64_t C = x.dim(-1), pixels = x.numel() / C, each = std::max<int64_t>(1, kBlock / C);
  const int64_t blocks = (pixels + each - 1) / each;
  Parts parts(static_cast<size_t>(blocks));
  parallel_for(blocks, 4, [&](Range r) {
    Scratch scratch;
    float* values = from.stored() ? nullptr : scratch.floats(each * C);
    for (int64_t i = r.begin; i < r.end; ++i) {
      const int64_t first = i * each, count = std::min(each, pixels - first);
      if (values) from.load(first, count, C, values);
      const float* block = values ? values : from.x + first * C;
      parts[static_cast<size_t>(i)] = kernels::bounds(block, count * C);
    }
  });
  return parts;
}

}  // namespace

Bounds bounds(const Tensor& x) {
  PARE_CHECK(x && x.numel() > 0, "bounds: the tensor is empty");
  if (const auto pending = x.pending()) {
    if (const auto known = pending->bounds()) return {known->min, known->max};
  }
  const Parts parts = pending_blocks(x) > 0 ? shown_parts(x) : read_parts(x);
  Bounds all{parts[0].min, parts[0].max};
  for (const kernels::Bounds& b : parts) {
    if (std::isnan(b.min)) return {b.min, b.max};
    all = {std::min(all.min, b.min), std::max(all.max, b.max)};
  }
  return all;
}

}  // namespace pare
