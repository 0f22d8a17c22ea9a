// Decoupled knowledge distillation, Zhao et al. 2022, arXiv:2203.08679. Soft targets fall apart
// into what is said about the true class y and what is said among the others:
//   b = (p_y, 1 - p_y),  p = softmax(. / T);    o = softmax(. / T) over the classes but y
//   L = T^2 / N  sum_n  alpha KL(b_t || b_z) + beta KL(o_t || o_z)

#include "core/error.h"
#include "core/ops.h"
#include "distill/losses.h"
#include "distill/term.h"

namespace pare::distill {

namespace {

constexpr float kNever = -1e4f;  // a logit that leaves nothing of its class

Tensor one_hot(const Tensor& labels, int64_t classes) {
  Tensor hot = Tensor::zeros({labels.numel(), classes});
  for (int64_t n = 0; n < labels.numel(); ++n) {
    const auto label = static_cast<int64_t>(labels.data()[n]);
    PARE_CHECK(label >= 0 && label < classes, "dkd: label ", label, " of ", classes, " classes");
    hot.data()[n * classes + label] = 1;
  }
  return hot;
}

/// KL((a, 1 - a) || (b, 1 - b)) of each row, a, b [N]
Tensor binary_kl(const Tensor& a, const Tensor& b) {
  constexpr float kEps = 1e-7f;
  const Tensor p = clamp(a, kEps, 1 - kEps), q = clamp(b, kEps, 1 - kEps);
  return p * (log(p) - log(q)) + (1.0f - p) * (log(1.0f - p) - log(1.0f - q));
}

}  // namespace

Tensor dkd(const Tensor& z, const Tensor& t, const Tensor& labels, const DkdOptions& o) {
  check_logits("dkd", z, t);
  PARE_CHECK(labels.dims() == 1, "dkd: needs one class for each image, got labels ",
             labels.shape(), hint("mixup and cutmix give shares of several"));
  const float T = o.temperature;
  const Tensor hot = one_hot(labels, z.dim(1));
  const Tensor zt = z / T, tt = t.detach() / T;
  const Tensor target = binary_kl(sum(softmax(tt) * hot, {1}), sum(softmax(zt) * hot, {1}));
  const Tensor log_p = log_softmax(tt + kNever * hot), log_q = log_softmax(zt + kNever * hot);
  const Tensor others = sum(exp(log_p) * (log_p - log_q), {1});
  return T * T * mean(o.alpha * target + o.beta * others);
}

namespace {

struct Dkd final : Term {
  explicit Dkd(const DkdOptions& o) : options(o) {}
  Tensor operator()(const Answer& student, const Answer& teacher,
                    const Tensor& labels) const override {
    return dkd(student.logits, teacher.logits, labels, options);
  }
  DkdOptions options;
};

}  // namespace

namespace parts {

TermInfo dkd() {
  return {"dkd",
          "soft targets, true class and others apart, arXiv:2203.08679",
          {{"temperature", 4, 0.01}, {"alpha", 1, 0}, {"beta", 8, 0}, {"weight", 1, 0}},
          0,
          0,
          [](const std::vector<double>& n) {
            const auto f = [&n](size_t i) { return static_cast<float>(n[i]); };
            return std::make_unique<Dkd>(DkdOptions{f(0), f(1), f(2)});
          }};
}

}  // namespace parts

}  // namespace pare::distill
