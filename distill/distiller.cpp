#include "distill/distiller.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops.h"
#include "nn/layers.h"

namespace pare::distill {

namespace {

/// What one term learns.
struct Fields final : nn::Module {
  explicit Fields(std::shared_ptr<Term> t) : term(std::move(t)) {}
  Tensor forward(const Tensor& x) override { return x; }
  void visit(nn::Visitor& v) override { term->visit(v); }
  std::string describe() const override { return "Term"; }

  std::shared_ptr<Term> term;
};

float usual_cross_entropy(const std::vector<TermSpec>& terms) {
  for (const TermSpec& spec : terms) {
    if (spec.name == "kd") return std::max(0.0f, 1.0f - static_cast<float>(spec.weight()));
  }
  return 1.0f;
}

template <class Paths>
std::vector<std::string> all_paths(const std::vector<TermSpec>& terms, Paths&& path_of) {
  std::vector<std::string> all;
  for (const TermSpec& spec : terms) {
    for (const Place& place : spec.places) all.push_back(path_of(place));
  }
  return all;
}

const std::string& student_path(const Place& p) { return p.student; }
const std::string& teacher_path(const Place& p) { return p.teacher; }

}  // namespace

Distiller::Distiller(nn::Layer& student, nn::Layer& teacher, const DistillerOptions& options,
                     const Tensor& example, Rng& rng)
    : teacher_(teacher),
      ce_(options.cross_entropy.value_or(usual_cross_entropy(options.terms))),
      label_smoothing_(options.label_smoothing) {
  PARE_CHECK(!options.terms.empty(), "distill: there is no loss", hint("kd:4:0.7 is a good start"));
  nn::set_training(teacher_, false);
  nn::set_requires_grad(teacher_, false);
  student_taps_ = std::make_unique<Taps>(student, all_paths(options.terms, student_path), "student",
                                         /*always=*/true);
  teacher_taps_ = std::make_unique<Taps>(teacher_, all_paths(options.terms, teacher_path),
                                         "teacher", /*always=*/true);
  const NoGrad guard;
  const Tensor t = ask_teacher(example);
  const Tensor z = [&] {
    const nn::EvalMode eval(student);
    return student(example);
  }();
  PARE_CHECK(z.shape() == t.shape(), "distill: the student's logits are ", z.shape(),
             ", the teacher's ", t.shape(), hint("both must know the same classes"));
  std::vector<nn::Layer> learned;
  for (const TermSpec& spec : options.terms) {
    Part part{spec, find_term(spec.name).make(spec.numbers), {}, {}};
    for (const Place& p : spec.places) {
      part.student.push_back(p.student), part.teacher.push_back(p.teacher);
    }
    const Answer from{z, student_taps_->of(part.student)};
    const Answer to{t, teacher_taps_->of(part.teacher)};
    part.term->prepare(from, to, rng);
    (*part.term)(from, to, Tensor::zeros({example.dim(0)}))
        .item();  // refuses sizes that do not fit
    learned.emplace_back(Fields(part.term));
    parts_.push_back(std::move(part));
  }
  learned_ = nn::Sequential(std::move(learned));  // "0" is the first term
  student_taps_->clear(), teacher_taps_->clear();
  student_taps_->only_with_gradients();
}

Tensor Distiller::ask_teacher(const Tensor& images) {
  const NoGrad guard;
  return teacher_(images);
}

Tensor Distiller::operator()(const Tensor& logits, const Batch& batch) {
  const Tensor t = ask_teacher(batch.x);
  Tensor loss;
  const auto add = [&](float weight, const Tensor& value) {
    if (weight == 0) return;
    const Tensor weighted = weight == 1 ? value : weight * value;
    loss = loss ? loss + weighted : weighted;
  };
  if (ce_ > 0) add(ce_, cross_entropy(logits, batch.y, label_smoothing_));
  last_.clear();
  for (const Part& part : parts_) {
    const Tensor value = (*part.term)({logits, student_taps_->of(part.student)},
                                      {t, teacher_taps_->of(part.teacher)}, batch.y);
    last_.push_back(value.item());
    add(static_cast<float>(part.spec.weight()), value);
  }
  student_taps_->clear(), teacher_taps_->clear();
  PARE_CHECK(loss, "distill: all weights are 0");
  return loss;
}

}  // namespace pare::distill
