#include <algorithm>

#include "core/kernels/optim.h"
#include "core/parallel.h"
#include "nn/optim.h"

namespace pare::nn {

namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(std::vector<ParamGroup> groups, std::vector<std::string> slots, const SgdOptions& options)
      : Optimizer(std::move(groups), std::move(slots), options.lr), opt_(options) {
    check_momentum(opt_.momentum);
    for (const ParamGroup& g : this->groups()) check_momentum(momentum_of(g));
    PARE_CHECK(!opt_.nesterov || (opt_.momentum > 0 && opt_.dampening == 0),
               "sgd: nesterov needs momentum and no dampening, got momentum ", opt_.momentum,
               ", dampening ", opt_.dampening);
  }

 private:
  static void check_momentum(float momentum) {
    PARE_CHECK(momentum >= 0 && momentum < 1, "sgd: momentum must be in 0..1, got ", momentum);
  }
  float momentum_of(const ParamGroup& g) const { return g.momentum.value_or(opt_.momentum); }

  void update(Tensor& p, const Tensor& grad, std::vector<Tensor>& slots, float lr,
              const ParamGroup& group, int64_t step) override {
    // The first velocity is the gradient itself, undamped: v is zero then, so only `take` differs.
    const float momentum = momentum_of(group);
    const kernels::SgdStep s{.lr = lr,
                             .momentum = momentum,
                             .keep = momentum,
                             .take = step == 1 ? 1.0f : 1.0f - opt_.dampening,
                             .decay = group.weight_decay,
                             .nesterov = opt_.nesterov};
    float* w = p.data();
    const float* g = grad.data();
    float* v = slots.empty() ? nullptr : slots[0].data();
    parallel_for(p.numel(), kGrain, [&](Range r) {
      kernels::sgd(s, w + r.begin, g + r.begin, v ? v + r.begin : nullptr, r.size());
    });
  }

  SgdOptions opt_;
};

}  // namespace

std::unique_ptr<Optimizer> sgd(std::vector<ParamGroup> groups, const SgdOptions& options) {
  const bool moves = options.momentum != 0 ||
                     std::any_of(groups.begin(), groups.end(),
                                 [](const ParamGroup& g) { return g.momentum.value_or(0) != 0; });
  std::vector<std::string> slots;
  if (moves) slots.emplace_back("momentum");
  return std::make_unique<Sgd>(std::move(groups), std::move(slots), options);
}

}  // namespace pare::nn
