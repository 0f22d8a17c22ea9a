// Uniform quantization and back. t = x / s, u = round(t) + z or, shift_first, round(t + z):
//   y  = s (clamp(u, lo, hi) - z)
//   dx = dy 1[inside],   inside: lo <= u <= hi and min <= x <= max
//   ds = g (sum_inside dy (u - z - t) + (lo - z) sum_below dy + (hi - z) sum_above dy)
//   dz = g (-s) (sum_below dy + sum_above dy)
// LSQ, arXiv:1902.08153, is z = 0; LSQ+, arXiv:2004.09576, has both. With a clipping level, PACT,
// arXiv:1805.06085:
//   s = a / hi,  inside: 0 <= x <= a (lo < 0: -a <= x <= a)
//   da = g (sum_above dy - 1[lo < 0] sum_below dy)

#include "core/kernels/fake_quant.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/autograd.h"
#include "core/ops.h"
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
  FakeQuantOptions o;
  std::vector<FakeQuant> groups;
  std::vector<float> sign;  // of the scale as it was given

  int64_t count() const { return static_cast<int64_t>(groups.size()); }
  int64_t length() const { return x.numel() / count(); }
  int64_t pieces() const { return (length() + kChunk - 1) / kChunk; }
  bool columns() const { return o.share == QuantShare::channel && count() > 1; }
};

FakeQuant group(const Tensor& scale, const Tensor& zero, const FakeQuantOptions& o, int64_t k) {
  FakeQuant q{.lo = o.lo, .hi = o.hi, .rounding = o.rounding, .shift_first = o.shift_first};
  const float s = std::fabs(scale.data()[k]);
  if (o.clip) {
    q.max = std::max(s, kSmallest * o.hi);
    q.min = o.lo < 0 ? -q.max : 0.0f;
    q.scale = q.max / o.hi;
    return q;
  }
  q.scale = std::max(s, kSmallest);
  q.zero = zero ? std::nearbyint(zero.data()[k]) : 0.0f;
  if (o.min) q.min = o.min.data()[k];
  if (o.max) q.max = o.max.data()[k];
  return q;
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
  std::vector<float> scale, zero;
  kernels::FakeQuantColumns q;
  int64_t channels, rows, each, shards;

  explicit Columns(const Work& w)
      : channels(w.count()),
        rows(w.x.numel() / channels),
        each(std::max<int64_t>(1, kChunk / channels)),
        shards((rows + each - 1) / each) {
    for (const FakeQuant& g : w.groups) {
      scale.push_back(g.scale);
      zero.push_back(g.zero);
    }
    q = {w.groups[0], scale.data(), zero.data()};
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

Tensor forward(const Work& w) {
  Tensor y = Tensor::uninit(w.x.shape());
  const float* x = w.x.data();
  float* to = y.data();
  if (w.columns()) {
    const Columns c(w);
    c.for_each_shard([&](int64_t, int64_t at, int64_t rows) {
      kernels::fake_quant_columns(c.q, x + at, to + at, rows, c.channels);
    });
  } else {
    for_each_run(w, [&](int64_t, int64_t k, int64_t at, int64_t n) {
      kernels::fake_quant(w.groups[static_cast<size_t>(k)], x + at, to + at, n);
    });
  }
  return y;
}

void add(FakeQuantSums& sums, const FakeQuantSums& part) {
  sums = {sums.inside + part.inside, sums.below + part.below, sums.above + part.above};
}

/// dx, and each group's sums, merged in order.
std::vector<FakeQuantSums> backward(const Work& w, const float* dy, float* dx) {
  std::vector<FakeQuantSums> sums(w.groups.size());
  const float* x = w.x.data();
  if (w.columns()) {
    const Columns c(w);
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
  for_each_run(w, [&](int64_t i, int64_t k, int64_t at, int64_t n) {
    const FakeQuant& q = w.groups[static_cast<size_t>(k)];
    parts[static_cast<size_t>(i)] = kernels::fake_quant_grad(q, x + at, dy + at, dx + at, n);
  });
  const size_t pieces = static_cast<size_t>(w.pieces());
  for (size_t i = 0; i < parts.size(); ++i) add(sums[i / pieces], parts[i]);
  return sums;
}

float scale_grad(const Work& w, size_t k, const FakeQuantSums& s) {
  const FakeQuant& q = w.groups[k];
  const double slope =
      w.o.clip ? s.above - (q.lo < 0 ? s.below : 0.0)
               : s.inside + (double{q.lo} - q.zero) * s.below + (double{q.hi} - q.zero) * s.above;
  return static_cast<float>(double{w.o.grad_scale} * w.sign[k] * slope);
}

float zero_grad(const Work& w, size_t k, const FakeQuantSums& s) {
  return static_cast<float>(-double{w.o.grad_scale} * w.groups[k].scale * (s.below + s.above));
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

}  // namespace

Tensor fake_quant(const Tensor& x, const Tensor& scale, const Tensor& zero,
                  const FakeQuantOptions& o) {
  check(x, scale, zero, o);
  Work w{x.detach(), o, {}, {}};
  for (int64_t k = 0; k < scale.numel(); ++k) {
    w.groups.push_back(group(scale, zero, o, k));
    w.sign.push_back(scale.data()[k] < 0 ? -1.0f : 1.0f);
  }
  const Tensor y = forward(w);
  const Attributes attributes = {
      {"lo", o.lo},
      {"hi", o.hi},
      {"rounding", o.rounding == Rounding::half_even ? "half_even" : "half_away"},
      {"shift_first", o.shift_first},
      {"clip", o.clip}};
  return record("fake_quant", attributes, y, {x, scale, zero},
                [w = std::move(w)](const Tensor& dy, Needs need) -> Grads {
                  Grads grads{reuse(dy), {}, {}};
                  const std::vector<FakeQuantSums> sums = backward(w, dy.data(), grads[0].data());
                  if (need[1]) grads[1] = Tensor::uninit({w.count()});
                  if (need[2]) grads[2] = Tensor::uninit({w.count()});
                  for (size_t k = 0; k < sums.size(); ++k) {
                    if (need[1]) grads[1].data()[k] = scale_grad(w, k, sums[k]);
                    if (need[2]) grads[2].data()[k] = zero_grad(w, k, sums[k]);
                  }
                  return grads;
                });
}

}  // namespace pare
