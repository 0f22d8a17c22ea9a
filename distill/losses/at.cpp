// Attention transfer, Zagoruyko & Komodakis 2017, arXiv:1612.03928. A map's attention is where its
// channels are large:
//   q_n = a_n / ||a_n||,  a_n [H W] = mean over channels of F^2;    L = mean (q_student -
//   q_teacher)^2
// summed over the places.

#include "core/ops.h"
#include "distill/losses.h"
#include "distill/relations.h"
#include "distill/term.h"

namespace pare::distill {

Tensor attention_transfer(const Tensor& student, const Tensor& teacher) {
  const Pair f = same_size(student, teacher.detach(), "at");
  const auto attention = [](const Tensor& x) { return unit_rows(rows(mean(square(x), {-1}))); };
  return mse_loss(attention(f.student), attention(f.teacher));
}

namespace {

struct At final : Term {
  Tensor operator()(const Answer& student, const Answer& teacher, const Tensor&) const override {
    return sum_over_places(student.features.size(), [&](size_t i) {
      return attention_transfer(student.features[i], teacher.features[i]);
    });
  }
};

}  // namespace

namespace parts {

TermInfo at() {
  return {"at",
          "attention transfer, arXiv:1612.03928",
          {{"weight", 1000, 0}},
          1,
          8,
          [](const std::vector<double>&) { return std::make_unique<At>(); }};
}

}  // namespace parts

}  // namespace pare::distill
