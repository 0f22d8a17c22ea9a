// Hints (FitNets), Romero et al. 2015, arXiv:1412.6550: a regressor r, a 1x1 convolution (linear
// for [N, C]) that is learned along, lifts the student's features to the teacher's width.
//   L = mean (r(F_student) - F_teacher)^2, summed over the places

#include "core/ops.h"
#include "distill/regressor.h"
#include "distill/relations.h"
#include "distill/term.h"

namespace pare::distill {

namespace {

struct Hint final : Term {
  void prepare(const Answer& student, const Answer& teacher, Rng& rng) override {
    regressors.clear();
    for (size_t i = 0; i < student.features.size(); ++i) {
      regressors.push_back(regressor(student.features[i], teacher.features[i], 1, rng));
    }
  }
  Tensor operator()(const Answer& student, const Answer& teacher, const Tensor&) const override {
    return sum_over_places(student.features.size(), [&](size_t i) {
      const Pair f = same_size(student.features[i], teacher.features[i].detach(), "hint");
      return mse_loss(regressors[i](f.student), f.teacher);
    });
  }
  void visit(nn::Visitor& v) override {
    for (size_t i = 0; i < regressors.size(); ++i) v(std::to_string(i), regressors[i]);
  }

  std::vector<nn::Layer> regressors;
};

}  // namespace

namespace parts {

TermInfo hint() {
  return {"hint",
          "features themselves, through a learned 1x1 convolution, arXiv:1412.6550",
          {{"weight", 1, 0}},
          1,
          8,
          [](const std::vector<double>&) { return std::make_unique<Hint>(); }};
}

}  // namespace parts

}  // namespace pare::distill
