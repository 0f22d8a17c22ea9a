#include <cmath>

#include "core/kernels/optim.h"
#include "core/parallel.h"
#include "nn/optim.h"

namespace pare::nn {

namespace {

class Adam final : public Optimizer {
 public:
  Adam(std::vector<ParamGroup> groups, const AdamOptions& options, bool decoupled)
      : Optimizer(std::move(groups), {"m", "v"}, options.lr), opt_(options), decoupled_(decoupled) {
    const auto valid = [](double beta) { return beta >= 0 && beta < 1; };
    PARE_CHECK(valid(opt_.beta1) && valid(opt_.beta2), "adam: betas must be in 0..1, got ",
               opt_.beta1, " and ", opt_.beta2);
    PARE_CHECK(opt_.eps > 0, "adam: eps must be positive, got ", opt_.eps);
  }

 private:
  void update(Tensor& p, const Tensor& grad, std::vector<Tensor>& slots, float lr,
              const ParamGroup& group, int64_t step) override {
    const double t = static_cast<double>(step);
    const double correction1 = 1 - std::pow(opt_.beta1, t);
    const double correction2 = 1 - std::pow(opt_.beta2, t);
    const kernels::AdamStep s{
        .shrink = decoupled_ ? static_cast<float>(1 - double{lr} * group.weight_decay) : 1.0f,
        .decay = decoupled_ ? 0.0f : group.weight_decay,
        .take1 = static_cast<float>(1 - opt_.beta1),
        .keep2 = static_cast<float>(opt_.beta2),
        .take2 = static_cast<float>(1 - opt_.beta2),
        .rate = static_cast<float>(lr / correction1),
        .correction = static_cast<float>(std::sqrt(correction2)),
        .eps = opt_.eps};
    float* w = p.data();
    const float* g = grad.data();
    float *m = slots[0].data(), *v = slots[1].data();
    parallel_for(p.numel(), kGrain, [&](Range r) {
      const int64_t i = r.begin;
      kernels::adam(s, w + i, g + i, m + i, v + i, r.size());
    });
  }

  AdamOptions opt_;
  bool decoupled_;
};

}  // namespace

std::unique_ptr<Optimizer> adam(std::vector<ParamGroup> groups, const AdamOptions& options) {
  return std::make_unique<Adam>(std::move(groups), options, false);
}

std::unique_ptr<Optimizer> adamw(std::vector<ParamGroup> groups, const AdamOptions& options) {
  return std::make_unique<Adam>(std::move(groups), options, true);
}

}  // namespace pare::nn
