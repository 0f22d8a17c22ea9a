#include "prune/l0.h"

#include <cmath>

#include "core/ops.h"
#include "nn/text.h"

namespace pare::prune {

namespace {

constexpr float kBeta = 2.0f / 3, kGamma = -0.1f, kZeta = 1.1f;
/// Half of the gates would be dropped by chance; a start a little in favour of open ones trains the
/// weights first.
constexpr float kStart = 2.0f;

Tensor stretched(const Tensor& s) { return clamp(s * (kZeta - kGamma) + kGamma, 0.0f, 1.0f); }

}  // namespace

L0Gate::L0Gate(nn::Layer batch_norm, int64_t filter_weights)
    : Gate(std::move(batch_norm)), filter(filter_weights) {
  log_alpha = Tensor::full({channels()}, kStart).requires_grad_();
}

Tensor L0Gate::gate() const { return stretched(sigmoid(log_alpha)); }

Tensor L0Gate::alive() const { return sigmoid(log_alpha - kBeta * std::log(-kGamma / kZeta)); }

Tensor L0Gate::forward(const Tensor& x) {
  const Tensor y = norm(x);
  if (!training) return y * gate();
  constexpr float kEdge = 1e-6f;  // keeps the logarithms finite
  const Tensor u = Tensor::uniform(log_alpha.shape(), rng, kEdge, 1 - kEdge);
  const Tensor noise = (log(u) - log(1.0f - u)).detach();
  return y * stretched(sigmoid((log_alpha + noise) * (1 / kBeta)));
}

std::string L0Gate::describe() const { return nn::Description("L0Gate").arg(channels()); }

std::vector<bool> L0Gate::open() const {
  const Tensor z = gate();
  std::vector<bool> all;
  for (float v : z.span()) all.push_back(v > 0);
  return all;
}

void L0Gate::merge(nn::Conv2d&) {
  const Tensor z = gate();
  for (Tensor* t : {&batch_norm().weight, &batch_norm().bias}) {
    for (int64_t i = 0; i < z.numel(); ++i) t->data()[i] *= z.data()[i];
  }
}

nn::Penalty l0_penalty(float s) {
  PARE_CHECK(s >= 0, "prune: the penalty's weight must not be negative, got ", s);
  return [s](const nn::Layer& model) {
    Tensor total;
    double weights = 0;
    for (Gate* gate : gates(model)) {
      auto* l0 = dynamic_cast<L0Gate*>(gate);
      if (!l0) continue;
      const Tensor term = sum(l0->alive()) * static_cast<float>(l0->filter);
      total = total ? total + term : term;
      weights += static_cast<double>(l0->filter * l0->channels());
    }
    PARE_CHECK(total, "prune: the model has no L0 gates");
    return total * static_cast<float>(s / weights);
  };
}

}  // namespace pare::prune
