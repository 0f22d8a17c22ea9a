#include <cmath>

#include "core/autograd.h"
#include "core/kernels/optim.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "nn/optim.h"

namespace pare::nn {

namespace {

/// Values whose squares are summed in float32. Shards are summed in order, so the bits do not
/// depend on the number of threads.
constexpr int64_t kShard = 4096;

double sum_squares(const Tensor& t) {
  const float* x = t.data();
  const int64_t n = t.numel(), shards = (n + kShard - 1) / kShard;
  std::vector<float> sums(static_cast<size_t>(shards));
  parallel_for(shards, 4, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      const int64_t begin = i * kShard;
      sums[static_cast<size_t>(i)] = kernels::sum_squares(x + begin, std::min(kShard, n - begin));
    }
  });
  double total = 0;
  for (float s : sums) total += s;
  return total;
}

}  // namespace

float clip_grad_norm(const std::vector<ParamGroup>& groups, float max_norm) {
  PARE_CHECK(max_norm > 0, "clip_grad_norm: the norm must be positive, got ", max_norm);
  NoGrad guard;
  double squares = 0;
  for (const ParamGroup& group : groups) {
    for (const NamedTensor& p : group.params) {
      if (p.tensor.grad()) squares += sum_squares(p.tensor.grad());
    }
  }
  const double norm = std::sqrt(squares);
  if (!(norm > max_norm) || !std::isfinite(norm)) return static_cast<float>(norm);
  const float scale = static_cast<float>(max_norm / norm);
  for (const ParamGroup& group : groups) {
    for (NamedTensor p : group.params) {
      // A new tensor: two parameters may share one gradient.
      if (p.tensor.grad()) p.tensor.set_grad(mul(p.tensor.grad(), scale));
    }
  }
  return static_cast<float>(norm);
}

}  // namespace pare::nn
