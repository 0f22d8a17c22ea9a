// Reductions over any axes. Neighbouring axes are merged, so that a tensor is [outer, count, inner]
// with the middle reduced; axes that do not lie together are first permuted to the back.
//   sum   dx = dy           mean  dx = dy / n
//   var   dx = dy 2 (x - mean) / (n - correction)
//   max   dx = dy at the first maximal element
// The work is cut by shape alone and merged in order.

#include "core/kernels/reduce.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "core/alloc.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/kernels/arithmetic.h"
#include "core/ops.h"
#include "core/ops/common.h"
#include "core/ops/show.h"
#include "core/scratch.h"

namespace pare {

namespace {

constexpr int64_t kChunk = 65536;  // elements of a long row that one task reduces
constexpr int64_t kShards = 64;    // parts of a tall column, at most

struct Plan {
  int64_t outer = 1, count = 1, inner = 1;
  Shape result;
  std::vector<int> order;  // axes with the reduced ones last; empty if they lie together already
  Shape axes;              // the reduced ones, in that order
  bool keep = false;
};

std::vector<bool> reduced_axes(const char* op, const Tensor& x, const Axes& axes) {
  std::vector<bool> reduced(static_cast<size_t>(x.dims()), axes.empty());
  for (int axis : axes) {
    const size_t i = static_cast<size_t>(checked_axis(op, x, axis));
    PARE_CHECK(!reduced[i], op, ": axis ", axis, " is named twice", operand("x", x));
    reduced[i] = true;
  }
  return reduced;
}

Shape result_shape(const Tensor& x, const std::vector<bool>& reduced, bool keep) {
  std::vector<int64_t> dims;
  for (int i = 0; i < x.dims(); ++i) {
    const bool gone = reduced[static_cast<size_t>(i)];
    if (!gone || keep) dims.push_back(gone ? 1 : x.dim(i));
  }
  if (dims.empty()) dims.push_back(1);
  return Shape(dims);
}

Plan plan(const char* op, const Tensor& x, const Axes& axes, bool keep) {
  const std::vector<bool> reduced = reduced_axes(op, x, axes);
  Plan p;
  p.result = result_shape(x, reduced, keep);
  p.keep = keep;
  std::vector<int64_t> places;
  bool together = true;
  for (int i = 0; i < x.dims(); ++i) {
    const int64_t size = x.dim(i);
    if (!reduced[static_cast<size_t>(i)]) {
      (p.count > 1 ? p.inner : p.outer) *= size;
    } else {
      together = together && (p.inner == 1 || size == 1);
      p.count *= size;
      places.push_back(i);
    }
  }
  if (!together) {
    const int first = x.dims() - static_cast<int>(places.size());
    std::iota(places.begin(), places.end(), int64_t{first});
  }
  p.axes = Shape(places);
  if (together) return p;
  for (const bool last : {false, true}) {
    for (int i = 0; i < x.dims(); ++i) {
      if (reduced[static_cast<size_t>(i)] == last) p.order.push_back(i);
    }
  }
  p.outer *= p.inner;
  p.inner = 1;
  return p;
}

/// x as the [outer, count, inner] of the plan.
Tensor arranged(const Tensor& x, const Plan& p) {
  return p.order.empty() ? x : permute(x, p.order);
}

/// y[o, 0, i] = scale sum_k t(x[o, k, i]) with t(v) = v, or (v - center[o, 0, i])^2 if there is a
/// center.
void sum_rows(const float* x, const float* center, const Plan& p, double scale, float* y) {
  const auto part = [&](int64_t o, int64_t begin, int64_t n) {
    const float* from = x + o * p.count + begin;
    return center ? kernels::sum_squares(from, center[o], n) : kernels::sum(from, n);
  };
  if (p.count <= kChunk) {
    parallel_for(p.outer, rows_per_task(p.count), [&](Range r) {
      for (int64_t o = r.begin; o < r.end; ++o) {
        y[o] = static_cast<float>(scale * part(o, 0, p.count));
      }
    });
    return;
  }
  for (int64_t o = 0; o < p.outer; ++o) {
    const double total =
        sum_in_chunks(p.count, [&](Range r) { return part(o, r.begin, r.size()); });
    y[o] = static_cast<float>(scale * total);
  }
}

void sum_columns(const float* x, const float* center, const Plan& p, double scale, float* y) {
  // Tasks are strips of columns and, where there are few outer rows, shards of their height.
  constexpr int64_t kStrip = 512, kHeight = 256;
  const int64_t strips = (p.inner + kStrip - 1) / kStrip;
  const int64_t shards =
      p.outer >= kShards ? 1 : std::clamp<int64_t>(p.count / kHeight, 1, kShards);
  const int64_t height = (p.count + shards - 1) / shards;
  Scratch scratch;
  float* parts = shards == 1 ? y : scratch.floats(p.outer * shards * p.inner);
  parallel_for(p.outer * shards * strips, rows_per_task(height * kStrip), [&](Range r) {
    for (int64_t unit = r.begin; unit < r.end; ++unit) {
      const int64_t i = unit % strips * kStrip, shard = unit / strips, o = shard / shards;
      const int64_t n = std::min(kStrip, p.inner - i);
      const int64_t first = std::min(shard % shards * height, p.count);
      const int64_t rows = std::min(height, p.count - first);
      const float* from = x + (o * p.count + first) * p.inner + i;
      float* to = parts + shard * p.inner + i;
      if (center) {
        kernels::sum_squares_columns(from, center + o * p.inner + i, rows, p.inner, n, to);
      } else {
        kernels::sum_columns(from, rows, p.inner, n, to);
      }
    }
  });
  const float factor = static_cast<float>(scale);
  parallel_for(p.outer * strips, rows_per_task(shards * kStrip), [&](Range r) {
    for (int64_t unit = r.begin; unit < r.end; ++unit) {
      const int64_t i = unit % strips * kStrip, o = unit / strips,
                    n = std::min(kStrip, p.inner - i);
      float* total = parts + o * shards * p.inner + i;
      for (int64_t s = 1; s < shards; ++s) kernels::accumulate(total + s * p.inner, total, n);
      kernels::arithmetic(kernels::Arithmetic::mul, {total}, {&factor, 0, 0}, y + o * p.inner + i,
                          1, n);
    }
  });
}

void sums(const Tensor& x, const Tensor& center, const Plan& p, double scale, Tensor& y) {
  const float* c = center ? center.data() : nullptr;
  (p.inner == 1 ? sum_rows : sum_columns)(x.data(), c, p, scale, y.data());
}

/// dx[o, k, i] = scale dy[o, 0, i]
Tensor spread(const Tensor& dy, const Plan& p, float scale, const Shape& shape) {
  Tensor dx = Tensor::uninit(shape);
  const float* from = dy.data();
  float* to = dx.data();
  const kernels::Operand factor = {&scale, 0, 0};
  if (p.inner > 1) {
    parallel_for(p.outer * p.count, rows_per_task(p.inner), [&](Range r) {
      for (int64_t row = r.begin; row < r.end;) {
        const int64_t o = row / p.count, rows = std::min(r.end, (o + 1) * p.count) - row;
        kernels::arithmetic(kernels::Arithmetic::mul, {from + o * p.inner}, factor,
                            to + row * p.inner, rows, p.inner);
        row += rows;
      }
    });
    return dx;
  }
  parallel_for(p.outer * p.count, kGrain, [&](Range r) {
    for (int64_t i = r.begin; i < r.end;) {
      const int64_t o = i / p.count, n = std::min(r.end, (o + 1) * p.count) - i;
      kernels::arithmetic(kernels::Arithmetic::mul, {from + o, 0, 0}, factor, to + i, 1, n);
      i += n;
    }
  });
  return dx;
}

Tensor scaled_sum(const char* op, const Tensor& x, const Plan& p, double scale) {
  const Tensor src = arranged(x, p);
  Tensor y = Tensor::uninit(p.result);
  sums(src, {}, p, scale, y);
  return record(op, {{"axes", p.axes}, {"keep", p.keep}}, y, {src},
                [p, scale, shape = src.shape()](const Tensor& dy, Needs) -> Grads {
                  return {spread(dy, p, static_cast<float>(scale), shape)};
                });
}

/// Values into y, the k of the first maximum into index.
void maxima(const float* x, const Plan& p, float* y, int32_t* index) {
  const auto row = [&](int64_t o, int64_t begin, int64_t n) {
    const kernels::Maximum m = kernels::max(x + o * p.count + begin, n);
    return kernels::Maximum{m.value, m.index + begin};
  };
  if (p.inner > 1) {
    constexpr int64_t kStrip = 64;  // columns that one task goes down
    const int64_t strips = (p.inner + kStrip - 1) / kStrip;
    parallel_for(p.outer * strips, rows_per_task(p.count * kStrip), [&](Range r) {
      for (int64_t unit = r.begin; unit < r.end; ++unit) {
        const int64_t o = unit / strips, i = unit % strips * kStrip;
        kernels::max_columns(x + o * p.count * p.inner + i, p.count, p.inner,
                             std::min(kStrip, p.inner - i), y + o * p.inner + i,
                             index + o * p.inner + i);
      }
    });
    return;
  }
  const int64_t chunks = (p.count + kChunk - 1) / kChunk;
  std::vector<kernels::Maximum> parts(static_cast<size_t>(p.outer * chunks));
  parallel_for(p.outer * chunks, rows_per_task(std::min(p.count, kChunk)), [&](Range r) {
    for (int64_t unit = r.begin; unit < r.end; ++unit) {
      const int64_t begin = unit % chunks * kChunk;
      parts[static_cast<size_t>(unit)] =
          row(unit / chunks, begin, std::min(kChunk, p.count - begin));
    }
  });
  for (int64_t o = 0; o < p.outer; ++o) {
    kernels::Maximum best = parts[static_cast<size_t>(o * chunks)];
    for (int64_t c = 1; c < chunks; ++c) {
      const kernels::Maximum& m = parts[static_cast<size_t>(o * chunks + c)];
      // NaN is above everything, and the first one stays.
      if (best.value == best.value && !(m.value <= best.value)) best = m;
    }
    y[o] = best.value;
    index[o] = static_cast<int32_t>(best.index);
  }
}

}  // namespace

double sum_in_chunks(int64_t n, FunctionRef<double(Range)> f) {
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  Scratch scratch;
  double* parts = static_cast<double*>(scratch.bytes(static_cast<size_t>(chunks) * sizeof(double)));
  parallel_for(chunks, 1, [&](Range r) {
    for (int64_t c = r.begin; c < r.end; ++c) {
      parts[c] = f({c * kChunk, std::min((c + 1) * kChunk, n)});
    }
  });
  return std::accumulate(parts, parts + chunks, 0.0);
}

void add_parts(const Tensor& sums, int64_t parts, Tensor& out) {
  const int64_t n = out.numel();
  const float* from = sums.data();
  float* to = out.data();
  parallel_for(n, kGrain / parts + 1, [&](Range r) {
    kernels::sum_columns(from + r.begin, parts, n, r.size(), to + r.begin);
  });
}

int checked_axis(const char* op, const Tensor& x, int axis) {
  PARE_CHECK(axis >= -x.dims() && axis < x.dims(), op, ": got axis ", axis, ", expected ",
             -x.dims(), " .. ", x.dims() - 1, operand("x", x));
  return axis < 0 ? axis + x.dims() : axis;
}

Tensor sum(const Tensor& x, const Axes& axes, bool keep) {
  return scaled_sum("sum", x, plan("sum", x, axes, keep), 1.0);
}

Tensor mean(const Tensor& x, const Axes& axes, bool keep) {
  const Plan p = plan("mean", x, axes, keep);
  PARE_CHECK(p.count > 0, "mean: over no elements", operand("x", x));
  return scaled_sum("mean", x, p, 1.0 / static_cast<double>(p.count));
}

Tensor var(const Tensor& x, const Axes& axes, bool keep, int correction) {
  const Plan p = plan("var", x, axes, keep);
  PARE_CHECK(p.count > correction, "var: over ", p.count,
             " elements, expected more than the correction ", correction, operand("x", x));
  const Tensor src = arranged(x, p);
  const double scale = 1.0 / static_cast<double>(p.count - correction);
  Tensor center = Tensor::uninit({p.outer, 1, p.inner}), y = Tensor::uninit(p.result);
  sums(src, {}, p, 1.0 / static_cast<double>(p.count), center);
  sums(src, center, p, scale, y);

  return record(
      "var", {{"axes", p.axes}, {"keep", p.keep}, {"correction", correction}}, y, {src},
      [p, scale, src = src.detach(), center](const Tensor& dy, Needs) -> Grads {
        const Tensor slope = mul(dy.view({p.outer, 1, p.inner}), 2 * static_cast<float>(scale));
        const Tensor delta = sub(src.view({p.outer, p.count, p.inner}), center);
        return {mul(delta, slope).view(src.shape())};
      });
}

Tensor max(const Tensor& x, const Axes& axes, bool keep) {
  const Plan p = plan("max", x, axes, keep);
  PARE_CHECK(p.count > 0 && p.count <= INT32_MAX, "max: over ", p.count, " elements",
             operand("x", x));
  const Tensor src = arranged(x, p);
  Tensor y = Tensor::uninit(p.result);
  const auto found = std::make_shared<Buffer>(static_cast<size_t>(y.numel()));
  const auto index = [found] { return reinterpret_cast<int32_t*>(found->data()); };
  maxima(src.data(), p, y.data(), index());

  return record("max", {{"axes", p.axes}, {"keep", p.keep}}, y, {src},
                [p, index, shape = src.shape()](const Tensor& dy, Needs) -> Grads {
                  Tensor dx = Tensor::zeros(shape);
                  const float* from = dy.data();
                  float* to = dx.data();
                  const int32_t* at = index();
                  parallel_for(dy.numel(), kGrain, [&](Range r) {
                    for (int64_t i = r.begin; i < r.end; ++i) {
                      to[(i / p.inner * p.count + at[i]) * p.inner + i % p.inner] = from[i];
                    }
                  });
                  return {dx};
                });
}

}  // namespace pare
