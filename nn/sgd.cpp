#include "core/kernels/optim.h"
#include "core/parallel.h"
#include "nn/optim.h"

namespace pare::nn {

namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(std::vector<ParamGroup> groups, const SgdOptions& options)
      : Optimizer(std::move(groups), slots_of(options), options.lr), opt_(options) {
    PARE_CHECK(opt_.momentum >= 0 && opt_.momentum < 1, "sgd: momentum must be in 0..1, got ",
               opt_.momentum);
    PARE_CHECK(!opt_.nesterov || (opt_.momentum > 0 && opt_.dampening == 0),
               "sgd: nesterov needs momentum and no dampening, got momentum ", opt_.momentum,
               ", dampening ", opt_.dampening);
  }

 private:
  static std::vector<std::string> slots_of(const SgdOptions& o) {
    if (o.momentum == 0) return {};
    return {"momentum"};
  }

  void update(Tensor& p, const Tensor& grad, std::vector<Tensor>& slots, float lr,
              float weight_decay, int64_t step) override {
    // The first velocity is the gradient itself, undamped: v is zero then, so only `take` differs.
    const kernels::SgdStep s{.lr = lr,
                             .momentum = opt_.momentum,
                             .keep = opt_.momentum,
                             .take = step == 1 ? 1.0f : 1.0f - opt_.dampening,
                             .decay = weight_decay,
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
  return std::make_unique<Sgd>(std::move(groups), options);
}

}  // namespace pare::nn
