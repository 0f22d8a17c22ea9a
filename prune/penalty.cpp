#include "prune/penalty.h"

#include <cmath>

#include "nn/layers.h"

namespace pare::prune {

namespace {

/// Calls f for every module of a kind.
template <class M, class F>
class Each final : public nn::Visitor {
 public:
  explicit Each(F f) : f_(std::move(f)) {}
  void look(const nn::Layer& layer) {
    if (auto* m = layer.as<M>()) f_(*m);
    layer.visit(*this);
  }

 private:
  void on_child(std::string_view, nn::Layer& child) override { look(child); }
  F f_;
};

template <class M, class F>
void each(const nn::Layer& model, F f) {
  Each<M, F>(std::move(f)).look(model);
}

void add_to(Tensor& sum, const Tensor& term) { sum = sum ? sum + term : term; }

/// Over rows [filters, ...]. The small number keeps the derivative at 0 finite: 0.
Tensor norms(const Tensor& w) {
  constexpr float kTiny = 1e-12f;
  const int64_t each = w.numel() / w.dim(0);
  const Tensor rows = reshape(w, {w.dim(0), each});
  return std::sqrt(static_cast<float>(each)) * sum(sqrt(sum(square(rows), {1}) + kTiny));
}

}  // namespace

nn::Penalty bn_l1(float s) {
  PARE_CHECK(s >= 0, "prune: the penalty's weight must not be negative, got ", s);
  return [s](const nn::Layer& model) {
    Tensor total;
    each<nn::BatchNorm2d>(model, [&](const nn::BatchNorm2d& bn) {
      if (bn.weight) add_to(total, sum(abs(bn.weight)));
    });
    PARE_CHECK(total, "prune: the model has no batch norm with a scale to make sparse");
    return s * total;
  };
}

nn::Penalty group_lasso(float s) {
  PARE_CHECK(s >= 0, "prune: the penalty's weight must not be negative, got ", s);
  return [s](const nn::Layer& model) {
    Tensor total;
    each<nn::Conv2d>(model, [&](const nn::Conv2d& c) { add_to(total, norms(c.weight)); });
    each<nn::Linear>(model, [&](const nn::Linear& l) { add_to(total, norms(l.weight)); });
    PARE_CHECK(total, "prune: the model has no convolution or linear layer to make sparse");
    return s * total;
  };
}

}  // namespace pare::prune
