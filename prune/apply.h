#pragma once
// Plans put into practice.

#include "prune/plan.h"

namespace pare::prune {

/// The model without the channels that the plan removes: smaller weights, biases, norms, scales of
/// quantizers. The big one is untouched. `example` is an input to trace it with. Both compute the
/// same if what was removed is zero (see silence).
nn::Layer apply(const Plan& plan, const nn::Layer& model, const Tensor& example);

/// Sets to zero what apply() would remove, but for running variances: filters, biases, gamma, beta
/// of the channels that go. Where ops keep zeros (ReLU, pools, sums), the big model then computes
/// what the small one will.
void silence(const Plan& plan, nn::Layer& model, const Tensor& example);

}  // namespace pare::prune
