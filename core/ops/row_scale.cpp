// One scale per row and group of channels; a row is all of x but its last axis.
//   mean_abs    a[r, g] = sum over the n channels of g of |x| / n     dx = da sign(x) / n
//   scale_rows  y[r, g, i] = x[r, g, i] k[r, g]                       dx = dy k,  dk = sum dy y / k
// The second one keeps y, which its reader keeps as well, and not x: a convolution's result becomes
// y block by block while it is in cache, and is never in memory itself.

#include "core/kernels/row_scale.h"

#include "core/autograd.h"
#include "core/deferred.h"
#include "core/error.h"
#include "core/ops.h"
#include "core/ops/change_blocks.h"
#include "core/ops/common.h"
#include "core/ops/show.h"

namespace pare {

namespace {

using kernels::GroupedRows;

/// Some rows of x [..., C] with numbers k [..., groups] beside them.
struct Grouping {
  int64_t groups, n;
  Grouping(const Tensor& x, int64_t g) : groups(g), n(x.dim(-1) / g) {}

  int64_t channels() const { return groups * n; }
  GroupedRows rows(int64_t count) const { return {count, groups, n}; }

  /// f(first row, rows) for all rows of x.
  template <class F>
  void for_each(const Tensor& x, F&& f) const {
    const int64_t rows = x.numel() / channels();
    parallel_for(rows, rows_per_task(channels()), [&](Range r) { f(r.begin, r.size()); });
  }
};

Shape with_groups(const Tensor& x, int64_t groups) { return x.shape().with(-1, groups); }

/// x k; not computed yet where x is not either.
Tensor scaled(const Tensor& x, const Tensor& k, const Grouping& by) {
  if (pending_blocks(x) > 0) {
    return change_blocks(x, {k}, [k = k.detach(), by](const Block& b) {
      kernels::scale_rows(by.rows(b.rows), b.values, k.data() + b.first * by.groups, b.values);
    });
  }
  Tensor y = Tensor::uninit(x.shape());
  const float *px = x.data(), *pk = k.data();
  float* py = y.data();
  by.for_each(x, [&](int64_t first, int64_t rows) {
    const int64_t at = first * by.channels();
    kernels::scale_rows(by.rows(rows), px + at, pk + first * by.groups, py + at);
  });
  return y;
}

/// other + da sign(x) / n; other is what the rest of x's readers left, or empty.
Tensor mean_abs_grad(const Tensor& x, const Tensor& da, const Tensor& other, const Grouping& by) {
  if (other && other.unique() && pending_blocks(other) > 0) {
    return change_blocks(other, {x, da}, [x, da = da.detach(), by](const Block& b) {
      kernels::mean_abs_grad(by.rows(b.rows), x.data() + b.first * by.channels(),
                             da.data() + b.first * by.groups, b.values, b.values);
    });
  }
  Tensor dx = other ? reuse(other) : Tensor::uninit(x.shape());
  const float *px = x.data(), *pda = da.data(), *more = other ? other.data() : nullptr;
  float* to = dx.data();
  by.for_each(x, [&](int64_t first, int64_t rows) {
    const int64_t at = first * by.channels();
    kernels::mean_abs_grad(by.rows(rows), px + at, pda + first * by.groups,
                           more ? more + at : nullptr, to + at);
  });
  return dx;
}

}  // namespace

Tensor mean_abs(const Tensor& x, int groups) {
  PARE_CHECK(x.dims() >= 2, "mean_abs: got ", x.shape(), ", expected [..., C]");
  PARE_CHECK(groups > 0 && x.dim(-1) > 0 && x.dim(-1) % groups == 0, "mean_abs: ", x.dim(-1),
             " channels cannot be cut into ", groups, " groups", operand("x", x));
  const Grouping by(x, groups);
  Tensor a = Tensor::uninit(with_groups(x, groups));
  float* pa = a.data();
  const auto average = [&](int64_t first, int64_t rows, const float* values) {
    kernels::mean_abs(by.rows(rows), values, pa + first * by.groups);
  };
  if (pending_blocks(x) > 0) {
    settle(x, [&](const Block& b) { average(b.first, b.rows, b.values); });
  } else {
    const float* px = x.data();
    by.for_each(
        x, [&](int64_t first, int64_t rows) { average(first, rows, px + first * by.channels()); });
  }
  return record("mean_abs", {{"groups", int64_t{groups}}}, a, {x},
                [x = x.detach(), by](const Tensor& da, Needs need) -> Grads {
                  return {mean_abs_grad(x, da, need.take(0), by)};
                });
}

Tensor scale_rows(const Tensor& x, const Tensor& k) {
  const bool fits = x.dims() >= 2 && k.dims() == x.dims() && x.dim(-1) > 0 && k.dim(-1) > 0 &&
                    x.dim(-1) % k.dim(-1) == 0 && k.shape() == with_groups(x, k.dim(-1));
  PARE_CHECK(fits, "scale_rows: expected x [..., C] and k [..., groups]", operand("x", x),
             operand("k", k));
  const Grouping by(x, k.dim(-1));
  Tensor y = scaled(x, k, by);
  return record(
      "scale_rows", y, {x, k},
      [y = y.detach(), k = k.detach(), by](const Tensor& dy, Needs) -> Grads {
        Tensor dk = Tensor::uninit(k.shape());
        const float *py = y.data(), *pk = k.data();
        float* pdk = dk.data();
        const auto pass = [&](int64_t first, int64_t rows, const float* g, float* dx) {
          kernels::scale_rows_grad(by.rows(rows), py + first * by.channels(),
                                   pk + first * by.groups, g, dx, pdk + first * by.groups);
        };
        if (dy.unique() && pending_blocks(dy) > 0) {
          const auto visit = [&](const Block& b) { pass(b.first, b.rows, b.values, b.values); };
          settle(dy, {visit, {py}});
          return {dy, dk};
        }
        Tensor dx = reuse(dy);
        const float* g = dy.data();
        float* to = dx.data();
        by.for_each(dy, [&](int64_t first, int64_t rows) {
          const int64_t at = first * by.channels();
          pass(first, rows, g + at, to + at);
        });
        return {dx, dk};
      });
}

}  // namespace pare
