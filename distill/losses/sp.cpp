// Similarity-preserving distillation, Tung & Mori 2019, arXiv:1907.09682. Images that are alike to
// the teacher shall be alike to the student:
//   G = rows of F F^T, each divided by its norm,  F [N, D];    L = 1 / N^2 ||G_student -
//   G_teacher||^2
// summed over the places.

#include "core/ops.h"
#include "distill/losses.h"
#include "distill/relations.h"
#include "distill/term.h"

namespace pare::distill {

Tensor similarity_preserving(const Tensor& student, const Tensor& teacher) {
  const auto similarities = [](const Tensor& x) {
    const Tensor f = rows(x);
    return unit_rows(matmul(f, transpose(f)));
  };
  return mse_loss(similarities(student), similarities(teacher.detach()));
}

namespace {

struct Sp final : Term {
  Tensor operator()(const Answer& student, const Answer& teacher, const Tensor&) const override {
    return sum_over_places(student.features.size(), [&](size_t i) {
      return similarity_preserving(student.features[i], teacher.features[i]);
    });
  }
};

}  // namespace

namespace parts {

TermInfo sp() {
  return {"sp",
          "similarity-preserving, arXiv:1907.09682",
          {{"weight", 3000, 0}},
          1,
          8,
          [](const std::vector<double>&) { return std::make_unique<Sp>(); }};
}

}  // namespace parts

}  // namespace pare::distill
