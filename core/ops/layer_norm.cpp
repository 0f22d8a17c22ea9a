// Layer normalization, Ba et al. 2016, arXiv:1607.06450, over the last axis of x [..., C]:
//   xhat = (x - mean) / sqrt(var + eps), y = gamma xhat + beta
//   g = gamma dy:  dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(var + eps)
//   dgamma = sum dy xhat, dbeta = sum dy over the rows

#include "core/kernels/layer_norm.h"

#include <algorithm>
#include <memory>

#include "core/alloc.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/kernels/reduce.h"
#include "core/ops.h"
#include "core/ops/common.h"
#include "core/ops/show.h"

namespace pare {

namespace {

using kernels::RowStats;

const float* data_or_null(const Tensor& t) { return t ? t.data() : nullptr; }

/// dx, dgamma, dbeta. Sums over rows are taken in shards that depend on the shape alone, merged in
/// order.
Grads gradients(const Tensor& x, const Tensor& gamma, const RowStats* stats, const Tensor& dy,
                Needs need) {
  constexpr int64_t kShardRows = 64;
  const int64_t n = x.dim(-1), rows = x.numel() / n, shards = (rows + kShardRows - 1) / kShardRows;
  Grads grads(3);
  if (need[0]) grads[0] = Tensor::uninit(x.shape());
  Tensor parts[3];
  for (size_t i : {1u, 2u}) {
    if (need[i]) parts[i] = Tensor::uninit({shards, n});
  }
  const float *px = x.data(), *g = dy.data(), *w = data_or_null(gamma);
  float* dx = need[0] ? grads[0].data() : nullptr;
  float* dgamma = need[1] ? parts[1].data() : nullptr;
  float* dbeta = need[2] ? parts[2].data() : nullptr;
  parallel_for(shards, 1, [&](Range r) {
    for (int64_t s = r.begin; s < r.end; ++s) {
      const int64_t first = s * kShardRows, count = std::min(kShardRows, rows - first);
      kernels::layer_norm_grad(px + first * n, w, g + first * n, stats + first,
                               dx ? dx + first * n : nullptr, dgamma ? dgamma + s * n : nullptr,
                               dbeta ? dbeta + s * n : nullptr, count, n);
    }
  });
  for (size_t i : {1u, 2u}) {
    if (need[i]) grads[i] = sum(parts[i], {0});
  }
  return grads;
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps) {
  const int64_t n = x.dim(-1);
  PARE_CHECK(n > 0, "layer_norm: got ", x.shape(), ", expected [..., C]");
  PARE_CHECK((!gamma || gamma.shape() == Shape{n}) && (!beta || beta.shape() == Shape{n}),
             "layer_norm: gamma and beta must be empty or hold ", n, " features", operand("x", x),
             operand("gamma", gamma), operand("beta", beta));
  PARE_CHECK(eps > 0, "layer_norm: eps must be > 0, got ", eps);
  const int64_t rows = x.numel() / n;
  Tensor y = Tensor::uninit(x.shape());
  const auto kept = std::make_shared<Buffer>(static_cast<size_t>(2 * rows));
  RowStats* stats = reinterpret_cast<RowStats*>(kept->data());
  const float *px = x.data(), *w = data_or_null(gamma), *b = data_or_null(beta);
  float* py = y.data();
  parallel_for(rows, rows_per_task(n), [&](Range r) {
    kernels::layer_norm(px + r.begin * n, w, b, eps, py + r.begin * n, stats + r.begin, r.size(),
                        n);
  });

  return record(
      "layer_norm", {{"eps", eps}}, y, {x, gamma, beta},
      [x = x.detach(), gamma = gamma.detach(), kept](const Tensor& dy, Needs need) -> Grads {
        const auto* s = reinterpret_cast<const RowStats*>(kept->data());
        return gradients(x, gamma, s, dy, need);
      });
}

}  // namespace pare
