// y = x m / (1 - p), m = 0 with probability p, else 1.    dx = dy m / (1 - p)
// Element i uses number `counter + i` of the generator, so the mask is drawn again in backward, not
// kept.

#include "core/autograd.h"
#include "core/error.h"
#include "core/kernels/philox.h"
#include "core/ops.h"
#include "core/ops/common.h"

namespace pare {

namespace {

void masked(const Tensor& x, float p, Rng::State at, Tensor& y) {
  const float* from = x.data();
  float* to = y.data();
  parallel_for(x.numel(), kGrain, [&](Range r) {
    kernels::dropout(from + r.begin, p, at.key, at.counter + static_cast<uint64_t>(r.begin),
                     to + r.begin, r.size());
  });
}

}  // namespace

Tensor dropout(const Tensor& x, float p, Rng& rng) {
  PARE_CHECK(p >= 0 && p < 1, "dropout: got probability ", p, ", expected 0 <= p < 1");
  const Rng::State at = rng.state();
  rng.set_state({at.key, at.counter + static_cast<uint64_t>(x.numel())});
  Tensor y = Tensor::uninit(x.shape());
  masked(x, p, at, y);
  return record("dropout", {{"p", p}}, y, {x}, [p, at](const Tensor& dy, Needs) -> Grads {
    Tensor dx = reuse(dy);
    masked(dy, p, at, dx);
    return {dx};
  });
}

}  // namespace pare
