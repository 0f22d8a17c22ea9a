// Relational knowledge distillation, Park et al. 2019, arXiv:1904.05068, on embeddings e [N, D]:
//   distance  psi_ij = ||e_i - e_j|| / mean of all that are > 0
//   angle     psi_ijk = cos of the angle at j between i and k
//   L = a mean huber(psi_student - psi_teacher of distances) + b mean huber(... of angles)
// Without a place the logits are the embeddings.

#include "core/ops.h"
#include "distill/losses.h"
#include "distill/relations.h"
#include "distill/term.h"

namespace pare::distill {

namespace {

Tensor distances(const Tensor& e) {
  const Tensor d = sqrt(clamp(squared_distances(e), 1e-12f, 3e38f));
  const auto pairs = static_cast<float>(e.dim(0) * (e.dim(0) - 1));
  return d / (sum(d) / std::max(pairs, 1.0f));
}

/// [N, N]: cosines at image j.
Tensor angles(const Tensor& e, int64_t j) {
  const Tensor to = unit_rows(e - slice(e, 0, j, j + 1));
  return matmul(to, transpose(to));
}

}  // namespace

Tensor rkd(const Tensor& student, const Tensor& teacher, const RkdOptions& o) {
  const Tensor s = rows(student), t = rows(teacher.detach());
  Tensor loss = o.distance * huber_mean(distances(s) - distances(t));
  if (o.angle == 0) return loss;
  const int64_t n = s.dim(0);
  Tensor total;
  for (int64_t j = 0; j < n; ++j) {
    const Tensor here = huber_mean(angles(s, j) - angles(t, j));
    total = total ? total + here : here;
  }
  return loss + (o.angle / static_cast<float>(n)) * total;
}

namespace {

struct Rkd final : Term {
  explicit Rkd(const RkdOptions& o) : options(o) {}
  Tensor operator()(const Answer& student, const Answer& teacher, const Tensor&) const override {
    const bool features = !student.features.empty();
    return rkd(features ? student.features[0] : student.logits,
               features ? teacher.features[0] : teacher.logits, options);
  }
  RkdOptions options;
};

}  // namespace

namespace parts {

TermInfo rkd() {
  return {"rkd",
          "distances and angles between images, arXiv:1904.05068",
          {{"distance", 25, 0}, {"angle", 50, 0}, {"weight", 1, 0}},
          0,
          1,
          [](const std::vector<double>& n) {
            const RkdOptions o{static_cast<float>(n[0]), static_cast<float>(n[1])};
            return std::make_unique<Rkd>(o);
          }};
}

}  // namespace parts

}  // namespace pare::distill
