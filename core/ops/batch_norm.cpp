// Batch normalization, Ioffe & Szegedy 2015, arXiv:1502.03167, over the last axis of x [..., C], M
// rows:
//
//   xhat = (x - mean) inv_std,   y = gamma xhat + beta
//   dbeta = sum dy,   dgamma = sum dy xhat
//   train: dx = gamma inv_std (dy - dbeta / M - xhat dgamma / M)        eval: dx = gamma inv_std dy
//
// The result is deferred: relu, a residual sum or an activation quantizer that follows joins the
// same pass, y = f(scale x + shift + residual), and its derivative joins the backward's two passes.

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/deferred.h"
#include "core/kernels/normalize.h"
#include "core/ops.h"
#include "core/ops/show.h"
#include "core/parallel.h"

namespace pare {

namespace {

/// Rows are cut into shards by shape alone and their sums merged in order: the same bits for any
/// thread count, and float32 sums that stay short.
constexpr int64_t kShardRows = 512;

struct Rows {
  int64_t rows, channels;
  explicit Rows(const Tensor& x)
      : rows(x.numel() / std::max<int64_t>(x.dim(-1), 1)), channels(x.dim(-1)) {}
  int64_t shards() const { return (rows + kShardRows - 1) / kShardRows; }

  /// f(shard, first row, number of rows)
  template <class F>
  void for_each_shard(F&& f) const {
    parallel_for(shards(), 1, [&](Range r) {
      for (int64_t s = r.begin; s < r.end; ++s) {
        f(s, s * kShardRows, std::min(kShardRows, rows - s * kShardRows));
      }
    });
  }
};

struct Moments {
  Tensor mean, var;  // [C], biased
};

/// Each shard's sums around the shard's first row, merged by Chan's formula in double.
Moments batch_moments(const Tensor& x) {
  const Rows r(x);
  Tensor sums = Tensor::uninit({r.shards(), 2, r.channels});
  const float* px = x.data();
  float* out = sums.data();
  r.for_each_shard([&](int64_t shard, int64_t first, int64_t count) {
    float* to = out + shard * 2 * r.channels;
    const float* from = px + first * r.channels;
    kernels::channel_moments(from, from, count, r.channels, to, to + r.channels);
  });
  Moments m{Tensor::uninit({r.channels}), Tensor::uninit({r.channels})};
  for (int64_t c = 0; c < r.channels; ++c) {
    double n = 0, mean = 0, squares = 0;  // of the rows merged so far; squares are around the mean
    for (int64_t shard = 0; shard < r.shards(); ++shard) {
      const double count = static_cast<double>(std::min(kShardRows, r.rows - shard * kShardRows));
      const float* s = out + shard * 2 * r.channels + c;
      const double offset = double{s[0]} / count;
      const double shard_mean = px[shard * kShardRows * r.channels + c] + offset;
      const double shard_squares = s[r.channels] - count * offset * offset;
      const double delta = shard_mean - mean, total = n + count;
      mean += delta * count / total;
      squares += shard_squares + delta * delta * n * count / total;
      n = total;
    }
    m.mean.data()[c] = static_cast<float>(mean);
    m.var.data()[c] = static_cast<float>(std::max(squares / n, 0.0));
  }
  return m;
}

/// What forward and backward share. All values are without history.
struct Statistics {
  Tensor x, mean, inv_std;  // mean, inv_std [C]
  Tensor scale, shift;      // y = scale x + shift
  bool train;
  float eps;                         // this and what follows is for observers
  Tensor running_mean, running_var;  // [C]
};

struct Gradients {
  Tensor dx, dgamma, dbeta, dresidual;
};

/// dy is overwritten where nobody else can see it.
Tensor reuse(const Tensor& dy) { return dy.unique() ? dy.detach() : Tensor::uninit(dy.shape()); }

Gradients normalize_backward(const Statistics& s, const Tensor& residual, Pointwise f,
                             const Tensor& dy, bool need_dx, bool need_residual) {
  const Rows r(s.x);
  const int64_t C = r.channels;
  Gradients grads;
  if (need_residual) grads.dresidual = reuse(dy);
  Tensor sums = Tensor::uninit({r.shards(), 2, C});
  kernels::Affine u{s.x.data(), residual ? residual.data() : nullptr, s.scale.data(),
                    s.shift.data()};
  const float *pdy = dy.data(), *mean = s.mean.data();
  float *partial = sums.data(), *g = need_residual ? grads.dresidual.data() : nullptr;
  const auto at = [&](int64_t offset) {
    return kernels::Affine{u.x + offset, u.residual ? u.residual + offset : nullptr, u.scale,
                           u.shift};
  };
  r.for_each_shard([&](int64_t shard, int64_t first, int64_t count) {
    float* to = partial + shard * 2 * C;
    kernels::normalize_grad_sums(at(first * C), f, pdy + first * C, mean, count, C,
                                 g ? g + first * C : nullptr, to, to + C);
  });
  grads.dbeta = Tensor::uninit({C});
  grads.dgamma = Tensor::uninit({C});
  Tensor coefficients = Tensor::uninit({3, C});  // a, b, k of kernels::InputGrad
  float *a = coefficients.data(), *b = a + C, *k = b + C;
  const float* inv_std = s.inv_std.data();
  for (int64_t c = 0; c < C; ++c) {
    double sum = 0, product = 0;
    for (int64_t shard = 0; shard < r.shards(); ++shard) {
      sum += partial[shard * 2 * C + c];
      product += partial[shard * 2 * C + C + c];
    }
    const double inv = inv_std[c], m = static_cast<double>(r.rows);
    grads.dbeta.data()[c] = static_cast<float>(sum);
    grads.dgamma.data()[c] = static_cast<float>(product * inv);
    a[c] = u.scale[c];
    b[c] = s.train ? static_cast<float>(-u.scale[c] * inv * inv * product / m) : 0.0f;
    k[c] = s.train ? static_cast<float>(-u.scale[c] * sum / m) : 0.0f;
  }
  if (!need_dx) return grads;
  // With the activation's derivative already in g, the second pass is linear in it.
  const Tensor source = need_residual ? grads.dresidual : dy;
  grads.dx = need_residual ? Tensor::uninit(dy.shape()) : reuse(dy);
  if (need_residual) f = {}, u.residual = nullptr;
  const float* from = source.data();
  float* dx = grads.dx.data();
  r.for_each_shard([&](int64_t, int64_t first, int64_t count) {
    kernels::normalize_grad_input(at(first * C), f, from + first * C, {mean, a, b, k}, count, C,
                                  dx + first * C);
  });
  return grads;
}

Tensor normalized(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Statistics& s,
                  const Pointwise& f, const Tensor& residual);

/// f(scale x + shift + residual), not computed yet.
struct Normalized final : Deferred {
  Tensor x, gamma, beta, residual;  // with history, for the node of whatever absorbs this
  Statistics s;
  Pointwise f;

  void run(float* y) const override {
    const Rows r(s.x);
    const kernels::Affine u{s.x.data(), residual ? residual.data() : nullptr, s.scale.data(),
                            s.shift.data()};
    r.for_each_shard([&](int64_t, int64_t first, int64_t count) {
      const int64_t o = first * r.channels;
      kernels::normalize({u.x + o, u.residual ? u.residual + o : nullptr, u.scale, u.shift}, f,
                         count, r.channels, y + o);
    });
  }
  Tensor then(const Pointwise& next) const override {
    return f.kind == Pointwise::Kind::identity ? normalized(x, gamma, beta, s, next, residual)
                                               : Tensor{};
  }
  Tensor plus(const Tensor& other) const override {
    const bool free =
        f.kind == Pointwise::Kind::identity && !residual && other.shape() == x.shape();
    return free ? normalized(x, gamma, beta, s, f, other) : Tensor{};
  }
};

Tensor normalized(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Statistics& s,
                  const Pointwise& f, const Tensor& residual) {
  auto work = std::make_shared<Normalized>();
  work->x = x, work->gamma = gamma, work->beta = beta, work->residual = residual;
  work->s = s, work->f = f;
  const Tensor y = Tensor::deferred(x.shape(), work);
  if (!fusion_enabled()) y.data();
  return record("batch_norm",
                {{"eps", s.eps}, {"running_mean", s.running_mean}, {"running_var", s.running_var}},
                y, {x, gamma, beta, residual},
                [s, f, residual = residual.detach()](const Tensor& dy, Needs need) -> Grads {
                  Gradients g = normalize_backward(s, residual, f, dy, need[0], need[3]);
                  return {g.dx, g.dgamma, g.dbeta, g.dresidual};
                });
}

void update_running(Tensor& running_mean, Tensor& running_var, const Moments& m, int64_t rows,
                    float momentum) {
  float *mean = running_mean.data(), *var = running_var.data();
  const float *batch_mean = m.mean.data(), *batch_var = m.var.data();
  const double unbiased = static_cast<double>(rows) / static_cast<double>(rows - 1);
  for (int64_t c = 0; c < running_mean.numel(); ++c) {
    mean[c] = (1 - momentum) * mean[c] + momentum * batch_mean[c];
    var[c] = static_cast<float>((1.0 - momentum) * var[c] + momentum * unbiased * batch_var[c]);
  }
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor& running_mean,
                  Tensor& running_var, const BatchNormOptions& o) {
  PARE_CHECK(x.dims() >= 2, "batch_norm: input must be [..., C]", operand("input", x));
  const int64_t C = x.dim(-1), rows = Rows(x).rows;
  for (const Tensor* t : {&gamma, &beta, const_cast<const Tensor*>(&running_mean),
                          const_cast<const Tensor*>(&running_var)}) {
    const bool optional = t == &gamma || t == &beta;
    PARE_CHECK((optional && !*t) || (t->dims() == 1 && t->dim(0) == C), "batch_norm: input has ", C,
               " channels, a parameter has ", *t ? t->shape().str() : "none", operand("input", x));
  }
  PARE_CHECK(!o.train || rows > 1, "batch_norm: training needs more than one value per channel",
             operand("input", x));

  Statistics s{x.detach(), {},    Tensor::uninit({C}), Tensor::uninit({C}), Tensor::uninit({C}),
               o.train,    o.eps, running_mean,        running_var};
  Moments m;
  if (o.train) {
    m = batch_moments(x);
    update_running(running_mean, running_var, m, rows, o.momentum);
  } else {
    m = {running_mean.clone(), running_var.detach()};
  }
  s.mean = m.mean;
  for (int64_t c = 0; c < C; ++c) {
    const float inv = static_cast<float>(1.0 / std::sqrt(double{m.var.data()[c]} + o.eps));
    const float scale = gamma ? gamma.data()[c] * inv : inv;
    s.inv_std.data()[c] = inv;
    s.scale.data()[c] = scale;
    s.shift.data()[c] = (beta ? beta.data()[c] : 0.0f) - m.mean.data()[c] * scale;
  }
  return normalized(x, gamma, beta, s, {}, {});
}

}  // namespace pare
