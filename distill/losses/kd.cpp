// Knowledge distillation, Hinton et al. 2015, arXiv:1503.02531:
//   L = T^2 / N  sum_n KL(softmax(t_n / T) || softmax(z_n / T)),    z, t [N, classes]

#include "core/ops.h"
#include "distill/losses.h"
#include "distill/term.h"

namespace pare::distill {

Tensor kd(const Tensor& z, const Tensor& t, const KdOptions& o) {
  check_logits("kd", z, t);
  const float T = o.temperature;
  const Tensor log_p = log_softmax(t.detach() / T), log_q = log_softmax(z / T);
  return T * T * mean(sum(exp(log_p) * (log_p - log_q), {1}));
}

namespace {

struct Kd final : Term {
  explicit Kd(double temperature) : options{static_cast<float>(temperature)} {}
  Tensor operator()(const Answer& student, const Answer& teacher, const Tensor&) const override {
    return kd(student.logits, teacher.logits, options);
  }
  KdOptions options;
};

}  // namespace

namespace parts {

TermInfo kd() {
  return {"kd",
          "soft targets, arXiv:1503.02531; cross-entropy gets 1 - weight",
          {{"temperature", 4, 0.01}, {"weight", 0.7, 0}},
          0,
          0,
          [](const std::vector<double>& n) { return std::make_unique<Kd>(n[0]); }};
}

}  // namespace parts

}  // namespace pare::distill
