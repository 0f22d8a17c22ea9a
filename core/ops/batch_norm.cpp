// Batch normalization, Ioffe & Szegedy 2015, arXiv:1502.03167, over the last axis of x [..., C], M
// rows:
//
//   xhat = (x - mean) inv_std,   y = gamma xhat + beta
//   dbeta = sum dy,   dgamma = sum dy xhat
//   train: dx = gamma inv_std (dy - dbeta / M - xhat dgamma / M)        eval: dx = gamma inv_std dy
//
// The result is deferred: relu, a residual sum or an activation quantizer that follows joins the
// same pass, y = f(scale x + shift + residual), and its derivative joins the backward's two passes.
//
// In a group of processes M, mean, var and the two sums in dx are those over all of them; dgamma
// and dbeta are each process's own, as the gradients of all parameters are.

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/autograd.h"
#include "core/communicator.h"
#include "core/deferred.h"
#include "core/kernels/bounds.h"
#include "core/kernels/normalize.h"
#include "core/ops.h"
#include "core/ops/batch_moments.h"
#include "core/ops/common.h"
#include "core/ops/fake_quant.h"
#include "core/ops/show.h"
#include "core/parallel.h"

namespace pare {

namespace {

/// What forward and backward share. All values are without history.
struct Statistics {
  Tensor x, mean, inv_std;  // mean, inv_std [C]
  Tensor scale, shift;      // y = scale x + shift
  bool train;
  float eps;                         // this and what follows is for observers
  Tensor running_mean, running_var;  // [C]
  Tensor extremes;                   // [2, C]: min and max of x, if they are known
  double rows;                       // of all processes
  Communicator* group;               // null: this process alone
};

struct Gradients {
  Tensor dx, dgamma, dbeta, dresidual;
  kernels::FakeQuantSums quant;
};

/// g = dy f'(u) and its sums; g is empty where it was not kept.
struct Activated {
  Tensor g;
  BlockSums sums;  // of g, and of g (x - mean)
  std::vector<kernels::FakeQuantSums> quant;

  kernels::FakeQuantSums quant_sums() const {
    kernels::FakeQuantSums all;
    for (const kernels::FakeQuantSums& part : quant) add(all, part);
    return all;
  }
};

Activated activation_backward(const Statistics& s, const kernels::Affine& u,
                              const kernels::Finish& f, const Tensor& dy, bool keep,
                              bool quant_sums) {
  const Rows r(s.x);
  const int64_t C = r.channels;
  const float* mean = s.mean.data();
  // A gradient that is only now computed, for nobody else, becomes g block by block in cache.
  const int64_t shown = dy.unique() ? pending_blocks(dy) : 0;
  const int64_t blocks = shown ? shown : r.shards();
  Activated a{shown  ? dy
              : keep ? reuse(dy)
                     : Tensor{},
              BlockSums(blocks, 2, C),
              std::vector<kernels::FakeQuantSums>(static_cast<size_t>(quant_sums ? blocks : 0))};
  const auto add = [&](int64_t block, int64_t first, int64_t rows, const float* from, float* g) {
    kernels::normalize_grad_sums(u.at(first * C), f, from, mean, rows, C, g,
                                 {a.sums.of(block, 0), a.sums.of(block, 1),
                                  quant_sums ? &a.quant[static_cast<size_t>(block)] : nullptr});
  };
  if (shown) {
    const auto visit = [&](const Block& b) { add(b.index, b.first, b.rows, b.values, b.values); };
    settle(dy, {visit, {u.x, u.residual}});
  } else {
    const float* from = dy.data();
    float* g = a.g ? a.g.data() : nullptr;
    r.for_each_shard([&](int64_t shard, int64_t first, int64_t rows) {
      add(shard, first, rows, from + first * C, g ? g + first * C : nullptr);
    });
  }
  return a;
}

/// dx = a g + b (x - mean) + k, not computed yet: who walks over dx first computes it on the way.
struct InputGradient final : Deferred {
  Tensor from;  // g, or dy to be multiplied with the activation's derivative; none: what y holds
  Statistics s;
  Tensor residual;
  Pointwise f;
  std::optional<FakeQuant> quant;
  Tensor coefficients;  // [3, C]: a, b, k

  void run(float* y) const override {
    Rows(s.x).for_each_shard(
        [&](int64_t, int64_t first, int64_t rows) { run_rows(y, first, rows); });
  }
  bool by_rows() const override { return true; }
  void run_rows(float* y, int64_t first, int64_t rows) const override {
    const int64_t C = s.x.dim(-1), at = first * C;
    const kernels::Affine u{s.x.data(), residual ? residual.data() : nullptr, s.scale.data(),
                            s.shift.data()};
    const float* a = coefficients.data();
    const float* g = from ? from.data() : y;
    kernels::normalize_grad_input(u.at(at), {f, quant ? &*quant : nullptr}, g + at,
                                  {s.mean.data(), a, a + C, a + 2 * C}, rows, C, y + at);
  }
};

struct Wanted {
  bool dx, residual, quant_sums;
};

Gradients normalize_backward(const Statistics& s, const Tensor& residual, const kernels::Finish& f,
                             const Tensor& dy, const Wanted& want) {
  const Rows r(s.x);
  const int64_t C = r.channels;
  const kernels::Affine u{s.x.data(), residual ? residual.data() : nullptr, s.scale.data(),
                          s.shift.data()};
  const Activated activated = activation_backward(s, u, f, dy, want.residual, want.quant_sums);
  Gradients grads{{}, Tensor::uninit({C}), Tensor::uninit({C}), {}, activated.quant_sums()};
  if (want.residual) grads.dresidual = activated.g;
  Tensor coefficients = Tensor::uninit({3, C});  // a, b, k of kernels::InputGrad
  float *a = coefficients.data(), *b = a + C, *k = b + C;
  float *dbeta = grads.dbeta.data(), *dgamma = grads.dgamma.data();
  const float* inv_std = s.inv_std.data();
  std::vector<double> totals(static_cast<size_t>(2 * C));
  double *sum = totals.data(), *product = sum + C;
  parallel_for(C, kMergedChannels, [&](Range channels) {
    for (int64_t block = 0; block < activated.sums.blocks(); ++block) {
      const float *sums = activated.sums.of(block, 0), *products = activated.sums.of(block, 1);
      for (int64_t c = channels.begin; c < channels.end; ++c) {
        sum[c] += sums[c];
        product[c] += products[c];
      }
    }
    for (int64_t c = channels.begin; c < channels.end; ++c) {
      dbeta[c] = static_cast<float>(sum[c]);
      dgamma[c] = static_cast<float>(product[c] * inv_std[c]);
    }
  });
  if (s.group) s.group->sum(totals);
  for (int64_t c = 0; c < C; ++c) {
    const double inv = inv_std[c];
    a[c] = u.scale[c];
    b[c] = s.train ? static_cast<float>(-u.scale[c] * inv * inv * product[c] / s.rows) : 0.0f;
    k[c] = s.train ? static_cast<float>(-u.scale[c] * sum[c] / s.rows) : 0.0f;
  }
  if (!want.dx) return grads;
  const auto work = std::make_shared<InputGradient>();
  work->s = s, work->coefficients = coefficients;
  if (!activated.g) {  // else it contains the activation's derivative
    work->residual = residual, work->f = f.f;
    if (f.quant) work->quant = *f.quant;
  }
  const bool last = !want.residual && (activated.g || dy.unique());  // nobody else wants g or dy
  const Tensor from = activated.g ? activated.g : dy;
  if (last) {
    grads.dx = Tensor::deferred_in(from, work, {s.x, work->residual});
  } else {
    work->from = from;
    grads.dx = Tensor::deferred(dy.shape(), work, {s.x, work->residual, from});
  }
  return grads;
}

Tensor normalized(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Statistics& s,
                  const Pointwise& f, const Tensor& residual, const QuantStep* quant = nullptr);

/// f(scale x + shift + residual), quantized or not, not computed yet.
struct Normalized final : Deferred {
  Tensor x, gamma, beta, residual;  // with history, for the node of whatever absorbs this
  Statistics s;
  Pointwise f;
  std::optional<FakeQuant> quant;

  kernels::Finish finish() const { return {f, quant ? &*quant : nullptr}; }

  bool keeps_x = false;  // x is wanted again, for a gradient
  bool in_place_of_x() const { return !keeps_x && pending_blocks(s.x) > 0; }

  void run(float* y) const override {
    const int64_t C = s.x.dim(-1);
    const float* r = residual ? residual.data() : nullptr;
    const kernels::Affine u{nullptr, r, s.scale.data(), s.shift.data()};
    if (in_place_of_x()) {
      s.x.pending()->run(y, [&](const Block& b) {
        kernels::Affine at = u.at(b.first * C);
        at.x = b.values;
        kernels::normalize(at, finish(), b.rows, C, b.values);
      });
      return;
    }
    const float* px = s.x.data();
    Rows(s.x).for_each_shard([&](int64_t, int64_t first, int64_t rows) {
      kernels::Affine at = u.at(first * C);
      at.x = px + first * C;
      kernels::normalize(at, finish(), rows, C, y + first * C);
    });
  }
  /// Sums go into memory before anybody reads them: who looks at all values first does it
  /// meanwhile.
  int64_t blocks() const override { return residual && !in_place_of_x() ? Rows(s.x).shards() : 0; }
  void run(float* y, BlockVisitor visit) const override {
    const int64_t C = s.x.dim(-1);
    const kernels::Affine u{s.x.data(), residual.data(), s.scale.data(), s.shift.data()};
    Rows(s.x).for_each_shard([&](int64_t shard, int64_t first, int64_t rows) {
      kernels::normalize(u.at(first * C), finish(), rows, C, y + first * C);
      visit({shard, first, rows, y + first * C});
    });
  }
  /// Of a function that never falls, at each channel's extremes.
  std::optional<kernels::Bounds> bounds() const override {
    if (!s.extremes || residual || quant || !f.rising()) return {};
    const int64_t C = s.x.dim(-1);
    std::vector<float> y(static_cast<size_t>(2 * C));
    const kernels::Affine u{s.extremes.data(), nullptr, s.scale.data(), s.shift.data()};
    kernels::normalize(u, finish(), 2, C, y.data());
    return kernels::bounds(y.data(), 2 * C);
  }
  Tensor then(const Pointwise& next) const override {
    using Kind = Pointwise::Kind;
    // Who quantizes a block's sum is seldom its only reader: the next residual wants it as it is.
    const bool kept = residual && (next.kind == Kind::sign || next.kind == Kind::ternary ||
                                   next.kind == Kind::quantize);
    if (quant || kept) return {};
    if (f.kind == Kind::identity) return normalized(x, gamma, beta, s, next, residual);
    if (f.kind != Kind::relu || next.kind != Kind::quantize || residual) return {};
    Pointwise both = next;
    both.kind = Kind::relu_quantize;
    return normalized(x, gamma, beta, s, both, {});
  }
  Tensor plus(const Tensor& other) const override {
    const bool free =
        f.kind == Pointwise::Kind::identity && !quant && !residual && other.shape() == x.shape();
    return free ? normalized(x, gamma, beta, s, f, other) : Tensor{};
  }
  Tensor quantized(const QuantStep& step) const override {
    const bool free = !quant && !residual && kernels::Finish::may_quantize(f);
    return free ? normalized(x, gamma, beta, s, f, residual, &step) : Tensor{};
  }
  std::optional<kernels::Source> source() const override {
    // A block's sum is usually read twice, as input and as the next residual: better in memory.
    if (residual || s.x.pending()) return {};
    return kernels::Source{s.x.data(), s.scale.data(), s.shift.data(), f, finish().quant};
  }
};

Tensor normalized(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Statistics& s,
                  const Pointwise& f, const Tensor& residual, const QuantStep* quant) {
  auto work = std::make_shared<Normalized>();
  work->x = x, work->gamma = gamma, work->beta = beta, work->residual = residual;
  work->s = s, work->f = f;
  if (quant) work->quant = quant->rule.q;
  work->keeps_x = grad_enabled() && (x.requires_grad() || (gamma && gamma.requires_grad()) ||
                                     (beta && beta.requires_grad()));
  const Tensor y = Tensor::deferred(x.shape(), work, {s.x, residual});
  std::optional<QuantRule> rule;
  if (quant) rule = quant->rule;
  std::vector<Tensor> inputs{x, gamma, beta, residual};
  if (quant) inputs.insert(inputs.end(), {quant->scale, quant->zero});
  return record(
      "batch_norm",
      {{"eps", s.eps}, {"running_mean", s.running_mean}, {"running_var", s.running_var}}, y, inputs,
      [s, f, residual = residual.detach(), rule](const Tensor& dy, Needs need) -> Grads {
        const bool learned = rule && (need[4] || need[5]);
        FakeQuant q;
        if (rule) q = kernels::windowed(rule->q);
        const kernels::Finish finish{f, rule ? &q : nullptr};
        Gradients g = normalize_backward(s, residual, finish, dy, {need[0], need[3], learned});
        Grads grads{g.dx, g.dgamma, g.dbeta, g.dresidual};
        if (!rule) return grads;
        grads.push_back(need[4] ? Tensor::scalar(rule->scale_grad(g.quant)) : Tensor{});
        grads.push_back(need[5] ? Tensor::scalar(rule->zero_grad(g.quant)) : Tensor{});
        return grads;
      });
}

bool finite(const Tensor& t) {
  const float* p = t.data();
  return std::all_of(p, p + t.numel(), [](float v) { return std::isfinite(v); });
}

void update_running(Tensor& running_mean, Tensor& running_var, const Moments& m, float momentum) {
  float *mean = running_mean.data(), *var = running_var.data();
  const float *batch_mean = m.mean.data(), *batch_var = m.var.data();
  const double unbiased = m.rows / (m.rows - 1);
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
  Communicator* const group = o.train && o.group && !o.group->alone() ? o.group : nullptr;
  for (const Tensor* t : {&gamma, &beta, const_cast<const Tensor*>(&running_mean),
                          const_cast<const Tensor*>(&running_var)}) {
    const bool optional = t == &gamma || t == &beta;
    PARE_CHECK((optional && !*t) || (t->dims() == 1 && t->dim(0) == C), "batch_norm: input has ", C,
               " channels, a parameter has ", *t ? t->shape().str() : "none", operand("input", x));
  }
  PARE_CHECK(!o.train || group || rows > 1,
             "batch_norm: training needs more than one value per channel", operand("input", x));

  Statistics s{x.detach(), {},    Tensor::uninit({C}), Tensor::uninit({C}), Tensor::uninit({C}),
               o.train,    o.eps, running_mean,        running_var,         {},
               0,          group};
  Moments m;
  if (o.train) {
    m = batch_moments(x, group);
    update_running(running_mean, running_var, m, o.momentum);
  } else {
    m = {running_mean.clone(), running_var.detach(), {}};
  }
  s.mean = m.mean;
  s.rows = m.rows;
  if (o.train && finite(m.mean) && finite(m.var)) s.extremes = m.extremes;
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
