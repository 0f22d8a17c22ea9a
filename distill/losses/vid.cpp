// Variational information distillation, Ahn et al. 2019, arXiv:1904.05835. The teacher's features
// are modelled as Gaussian around what a regressor mu makes of the student's, with one variance per
// channel; both are learned along.
//   v_c = softplus(rho_c) + 1e-5, 5 at the start;
//   L = mean 1/2 ((mu - F_teacher)^2 / v + ln v), summed over the places
// mu: 1x1 convolution, ReLU, 1x1, ReLU, 1x1, without biases.

#include <cmath>

#include "core/ops.h"
#include "distill/regressor.h"
#include "distill/relations.h"
#include "distill/term.h"

namespace pare::distill {

namespace {

constexpr float kStart = 5.0f, kLeast = 1e-5f;

/// ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)
Tensor softplus(const Tensor& x) { return relu(x) + log(1.0f + exp(-abs(x))); }

struct Vid final : Term {
  void prepare(const Answer& student, const Answer& teacher, Rng& rng) override {
    regressors.clear(), rho.clear();
    const auto start = static_cast<float>(std::log(std::expm1(double{kStart} - kLeast)));
    for (size_t i = 0; i < student.features.size(); ++i) {
      regressors.push_back(regressor(student.features[i], teacher.features[i], 3, rng));
      rho.push_back(Tensor::full({teacher.features[i].dim(-1)}, start).requires_grad_());
    }
  }
  Tensor operator()(const Answer& student, const Answer& teacher, const Tensor&) const override {
    return sum_over_places(student.features.size(), [&](size_t i) {
      const Pair f = same_size(student.features[i], teacher.features[i].detach(), "vid");
      const Tensor v = softplus(rho[i]) + kLeast;
      const Tensor gap = square(regressors[i](f.student) - f.teacher);
      return 0.5f * (mean(gap / v) + mean(log(v)));
    });
  }
  void visit(nn::Visitor& v) override {
    for (size_t i = 0; i < regressors.size(); ++i) {
      v(std::to_string(i), regressors[i])("rho" + std::to_string(i), rho[i]);
    }
  }

  std::vector<nn::Layer> regressors;
  std::vector<Tensor> rho;  // [C of the teacher]
};

}  // namespace

namespace parts {

TermInfo vid() {
  return {"vid",
          "features as a Gaussian with learned variances, arXiv:1904.05835",
          {{"weight", 1, 0}},
          1,
          8,
          [](const std::vector<double>&) { return std::make_unique<Vid>(); }};
}

}  // namespace parts

}  // namespace pare::distill
