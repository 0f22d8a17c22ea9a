// Uniform quantization and back. t = x / s, u = round(t) + z or, shift_first, round(t + z):
//   y  = s (clamp(u, lo, hi) - z)
//   dx = dy 1[inside],   inside: lo <= u <= hi and min <= x <= max
//   ds = g (sum_inside dy (u - z - t) + (lo - z) sum_below dy + (hi - z) sum_above dy)
//   dz = g (-s) (sum_below dy + sum_above dy)
// LSQ, arXiv:1902.08153, is z = 0; LSQ+, arXiv:2004.09576, has both. With a clipping level, PACT,
// arXiv:1805.06085:
//   s = a / hi,  inside: 0 <= x <= a (lo < 0: -a <= x <= a)
//   da = g (sum_above dy - 1[lo < 0] sum_below dy)

//
// With one scale the result is deferred: batch_norm takes the step into its own passes, and whoever
// copies its input anyway quantizes on the way.

#include "core/ops/fake_quant.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#include "core/autograd.h"
#include "core/deferred.h"
#include "core/grid.h"
#include "core/kernels/arithmetic.h"
#include "core/ops/change_blocks.h"
#include "core/ops/common.h"
#include "core/ops/show.h"

namespace pare {

namespace {

/// A scale below this is as good as zero; it still learns.
constexpr float kSmallest = std::numeric_limits<float>::epsilon();
constexpr int64_t kChunk = 16384;  // elements whose gradients are summed in float

using kernels::FakeQuantSums;

/// What forward and backward share. The scales are copied: a quantizer that follows its data moves
/// them on before an older forward's gradient is asked for.
struct Work {
  Tensor x;
  QuantShare share;
  std::vector<QuantRule> groups;

  int64_t count() const { return static_cast<int64_t>(groups.size()); }
  int64_t length() const { return x.numel() / count(); }
  int64_t pieces() const { return (length() + kChunk - 1) / kChunk; }
  bool columns() const { return share == QuantShare::channel && count() > 1; }
};

QuantRule rule(const Tensor& scale, const Tensor& zero, const FakeQuantOptions& o, int64_t k) {
  FakeQuant q{.lo = o.lo, .hi = o.hi, .rounding = o.rounding, .shift_first = o.shift_first};
  const float s = std::fabs(scale.data()[k]);
  if (o.clip) {
    q.max = std::max(s, kSmallest * o.hi);
    q.min = o.lo < 0 ? -q.max : 0.0f;
    q.scale = q.max / o.hi;
  } else {
    q.scale = std::max(s, kSmallest);
    q.zero = zero ? std::nearbyint(zero.data()[k]) : 0.0f;
    if (o.min) q.min = o.min.data()[k];
    if (o.max) q.max = o.max.data()[k];
  }
  return {q, scale.data()[k] < 0 ? -1.0f : 1.0f, o.grad_scale, o.clip};
}

/// f(run, group, first element, number of elements): runs have one scale and are short enough for
/// float sums.
template <class F>
void for_each_run(const Work& w, F&& f) {
  const int64_t length = w.length(), pieces = w.pieces();
  parallel_for(w.count() * pieces, rows_per_task(std::min(length, kChunk)), [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      const int64_t begin = i % pieces * kChunk;
      f(i, i / pieces, i / pieces * length + begin, std::min(kChunk, length - begin));
    }
  });
}

/// The channels' parameters side by side, and how rows are cut.
struct Columns {
  std::vector<float> scale, zero, min, max;
  kernels::FakeQuantColumns q;
  int64_t channels, rows, each, shards;

  enum For { values, gradients };

  Columns(const Work& w, For what)
      : channels(w.count()),
        rows(w.x.numel() / channels),
        each(std::max<int64_t>(1, kChunk / channels)),
        shards((rows + each - 1) / each) {
    for (const QuantRule& g : w.groups) {
      scale.push_back(g.q.scale);
      zero.push_back(g.q.zero);
      if (what == values) continue;
      const FakeQuant window = kernels::windowed(g.q);
      min.push_back(window.min);
      max.push_back(window.max);
    }
    q = {w.groups[0].q, scale.data(), zero.data()};
    if (what == gradients) q.min = min.data(), q.max = max.data();
  }

  /// f(shard, first element, rows)
  template <class F>
  void for_each_shard(F&& f) const {
    parallel_for(shards, 1, [&](Range r) {
      for (int64_t s = r.begin; s < r.end; ++s) {
        f(s, s * each * channels, std::min(each, rows - s * each));
      }
    });
  }
};

void forward(const Work& w, float* y) {
  const float* x = w.x.data();
  if (w.columns()) {
    const Columns c(w, Columns::values);
    c.for_each_shard([&](int64_t, int64_t at, int64_t rows) {
      kernels::fake_quant_columns(c.q, x + at, y + at, rows, c.channels);
    });
  } else {
    for_each_run(w, [&](int64_t, int64_t k, int64_t at, int64_t n) {
      kernels::fake_quant(w.groups[static_cast<size_t>(k)].q, x + at, y + at, n);
    });
  }
}

/// Values of one scale, quantized when they are read.
struct Quantized final : Deferred {
  explicit Quantized(const Work& w) : work(w) {}
  void run(float* y) const override { forward(work, y); }
  std::optional<kernels::Source> source() const override {
    return kernels::Source{.x = work.x.data(), .quant = &work.groups[0].q};
  }
  Work work;
};

/// Its derivative is that of a quantizer whose scale nobody learns.
Pointwise window(const FakeQuant& q) {
  return {.kind = Pointwise::Kind::clamp, .a = q.min, .b = q.max};
}

/// dx alone.
void backward_of_input(const Work& w, const float* dy, float* dx) {
  const float* x = w.x.data();
  if (w.columns()) {
    const Columns c(w, Columns::gradients);
    c.for_each_shard([&](int64_t, int64_t at, int64_t rows) {
      kernels::fake_quant_columns_grad(c.q, x + at, dy + at, dx + at, rows, c.channels, nullptr);
    });
    return;
  }
  std::vector<Pointwise> windows;
  for (const QuantRule& g : w.groups) windows.push_back(window(kernels::windowed(g.q)));
  for_each_run(w, [&](int64_t, int64_t k, int64_t at, int64_t n) {
    kernels::pointwise_grad(windows[static_cast<size_t>(k)], x + at, dy + at, dx + at, n);
  });
}

/// dx, and each group's sums, merged in order.
std::vector<FakeQuantSums> backward(const Work& w, const float* dy, float* dx) {
  std::vector<FakeQuantSums> sums(w.groups.size());
  const float* x = w.x.data();
  if (w.columns()) {
    const Columns c(w, Columns::gradients);
    std::vector<float> parts(static_cast<size_t>(c.shards * 3 * c.channels));
    c.for_each_shard([&](int64_t shard, int64_t at, int64_t rows) {
      kernels::fake_quant_columns_grad(c.q, x + at, dy + at, dx + at, rows, c.channels,
                                       parts.data() + shard * 3 * c.channels);
    });
    for (int64_t shard = 0; shard < c.shards; ++shard) {
      const float* p = parts.data() + shard * 3 * c.channels;
      for (size_t k = 0; k < sums.size(); ++k) {
        add(sums[k], {p[k], p[sums.size() + k], p[2 * sums.size() + k]});
      }
    }
    return sums;
  }
  std::vector<FakeQuantSums> parts(static_cast<size_t>(w.count() * w.pieces()));
  std::vector<FakeQuant> windows;
  for (const QuantRule& g : w.groups) windows.push_back(kernels::windowed(g.q));
  for_each_run(w, [&](int64_t i, int64_t k, int64_t at, int64_t n) {
    parts[static_cast<size_t>(i)] =
        kernels::fake_quant_grad(windows[static_cast<size_t>(k)], x + at, dy + at, dx + at, n);
  });
  const size_t pieces = static_cast<size_t>(w.pieces());
  for (size_t i = 0; i < parts.size(); ++i) add(sums[i / pieces], parts[i]);
  return sums;
}

/// What the blocks of dx leave behind.
struct BlockSums {
  std::vector<FakeQuantSums> parts;  // of each block
  std::atomic<int64_t> rows{0};      // seen so far
};

/// The gradient of the scale or the zero point, which is asked for last, by an optimizer: dx may
/// wait for its reader.
struct GradOfSums final : Deferred {
  std::shared_ptr<const BlockSums> sums;
  WeakTensor dx;
  std::shared_ptr<const Deferred> work;  // computes dx
  std::function<float(const FakeQuantSums&)> grad;

  GradOfSums(std::shared_ptr<const BlockSums> s, const Tensor& t,
             std::function<float(const FakeQuantSums&)> g)
      : sums(std::move(s)), dx(t), work(t.pending()), grad(std::move(g)) {}
  void run(float* y) const override {
    dx.compute();
    if (sums->rows == 0) work->run(Tensor::uninit(work->shape).data());  // dropped by its readers
    FakeQuantSums all;
    for (const FakeQuantSums& part : sums->parts) add(all, part);
    *y = grad(all);
  }
};

/// dx of one scale from a gradient that is only now computed, for nobody else: block by block while
/// it is in cache. `other`, if there is one, is added. `sums`: null unless wanted.
Tensor backward_in_blocks(const Work& w, const Tensor& dy, const Tensor& other,
                          const std::shared_ptr<BlockSums>& sums) {
  if (sums) sums->parts.resize(static_cast<size_t>(pending_blocks(dy)));
  const FakeQuant q = kernels::windowed(w.groups[0].q);
  const Tensor x = w.x, more = other.detach();
  return change_blocks(dy, {x, more}, [x, more, q, sums](const Block& b) {
    const int64_t channels = x.dim(-1), first = b.first * channels, n = b.rows * channels;
    const float* from = x.data() + first;
    if (sums) {
      for (int64_t i = 0; i < n; i += kChunk) {
        add(sums->parts[static_cast<size_t>(b.index)],
            kernels::fake_quant_grad(q, from + i, b.values + i, b.values + i,
                                     std::min(kChunk, n - i)));
      }
      sums->rows += b.rows;
    } else {
      kernels::pointwise_grad(window(q), from, b.values, b.values, n);
    }
    if (more) kernels::accumulate(more.data() + first, b.values, n);
  });
}

void check(const Tensor& x, const Tensor& scale, const Tensor& zero, const FakeQuantOptions& o) {
  PARE_CHECK(x && x.numel() > 0, "fake_quant: the input is empty");
  PARE_CHECK(o.lo <= 0 && o.lo < o.hi, "fake_quant: codes must run from 0 or less upwards, got ",
             o.lo, " to ", o.hi);
  const int64_t groups = o.share == QuantShare::tensor   ? 1
                         : o.share == QuantShare::filter ? x.dim(0)
                                                         : x.dim(-1);
  PARE_CHECK(scale && scale.shape() == Shape{groups} && (!zero || zero.shape() == Shape{groups}),
             "fake_quant: ", groups, " scales and zero points are needed", operand("input", x),
             operand("scale", scale), operand("zero", zero));
  for (const Tensor* limit : {&o.min, &o.max}) {
    PARE_CHECK(!*limit || (limit->numel() == groups && o.share != QuantShare::channel),
               "fake_quant: limits come one per scale, and not per channel",
               operand("limit", *limit));
  }
  PARE_CHECK(!o.clip || (!zero && !o.min && !o.max && o.share == QuantShare::tensor),
             "fake_quant: a clipping level stands alone: one, without zero point or limits");
}

Grads gradients(const Work& w, const Tensor& dy, Needs need) {
  Grads grads(3);
  std::vector<FakeQuantSums> sums;
  const bool learned = need[1] || need[2];
  if (w.count() == 1 && need[0] && dy.unique() && pending_blocks(dy) > 0) {
    const auto block_sums = learned ? std::make_shared<BlockSums>() : nullptr;
    grads[0] = backward_in_blocks(w, dy, need.take(0), block_sums);
    const auto grad_of = [&](auto grad) {
      const auto work = std::make_shared<GradOfSums>(block_sums, grads[0], grad);
      return Tensor::deferred({1}, work, {});
    };
    const QuantRule r = w.groups[0];
    if (need[1]) grads[1] = grad_of([r](const FakeQuantSums& s) { return r.scale_grad(s); });
    if (need[2]) grads[2] = grad_of([r](const FakeQuantSums& s) { return r.zero_grad(s); });
    return grads;
  }
  grads[0] = reuse(dy);
  if (learned) {
    sums = backward(w, dy.data(), grads[0].data());
  } else {
    backward_of_input(w, dy.data(), grads[0].data());
  }
  if (need[1]) grads[1] = Tensor::uninit({w.count()});
  if (need[2]) grads[2] = Tensor::uninit({w.count()});
  for (size_t k = 0; k < sums.size(); ++k) {
    if (need[1]) grads[1].data()[k] = w.groups[k].scale_grad(sums[k]);
    if (need[2]) grads[2].data()[k] = w.groups[k].zero_grad(sums[k]);
  }
  return grads;
}

}  // namespace

float QuantRule::scale_grad(const FakeQuantSums& s) const {
  const double slope =
      clip ? s.above - (q.lo < 0 ? s.below : 0.0)
           : s.inside + (double{q.lo} - q.zero) * s.below + (double{q.hi} - q.zero) * s.above;
  return static_cast<float>(double{grad_scale} * sign * slope);
}

float QuantRule::zero_grad(const FakeQuantSums& s) const {
  return static_cast<float>(-double{grad_scale} * q.scale * (s.below + s.above));
}

namespace {

/// Channels are the last axis, so their steps make no grid.
GridPtr grid_of(const std::vector<QuantRule>& groups, QuantShare share) {
  if (share == QuantShare::channel && groups.size() > 1) return nullptr;
  float lo = 0, hi = 0;
  std::vector<float> step;
  for (const QuantRule& g : groups) {
    lo = std::min(lo, g.q.lo - g.q.zero);
    hi = std::max(hi, g.q.hi - g.q.zero);
    step.push_back(g.q.scale);
  }
  return integer_grid(lo, hi, std::move(step));
}

Tensor quantized(Work w, const Tensor& x, const Tensor& scale, const Tensor& zero,
                 const FakeQuantOptions& o) {
  Tensor y;
  if (w.count() == 1 && fusion_enabled()) {
    const auto before = x.pending();
    if (before) y = before->quantized({w.groups[0], scale, zero});
    if (y) return y;
    y = Tensor::deferred(x.shape(), std::make_shared<Quantized>(w), {w.x});
  } else {
    y = Tensor::uninit(x.shape());
    forward(w, y.data());
  }
  const Attributes attributes = {
      {"lo", o.lo},
      {"hi", o.hi},
      {"rounding", o.rounding == Rounding::half_even ? "half_even" : "half_away"},
      {"shift_first", o.shift_first},
      {"clip", o.clip}};
  return record(
      "fake_quant", attributes, y, {x, scale, zero},
      [w = std::move(w)](const Tensor& dy, Needs need) -> Grads { return gradients(w, dy, need); });
}

}  // namespace

Tensor fake_quant(const Tensor& x, const Tensor& scale, const Tensor& zero,
                  const FakeQuantOptions& o) {
  check(x, scale, zero, o);
  Work w{x.detach(), o.share, {}};
  for (int64_t k = 0; k < scale.numel(); ++k) w.groups.push_back(rule(scale, zero, o, k));
  const auto grid = grid_of(w.groups, o.share);
  Tensor y = quantized(std::move(w), x, scale, zero, o);
  y.set_grid(grid);
  return y;
}

}  // namespace pare
