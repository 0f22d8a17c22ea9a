#include "distill/distiller.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops.h"

namespace pare::distill {

namespace {

/// What all terms learn, as fields of one module: "0" is the first term.
struct Learned final : nn::Module {
  explicit Learned(std::vector<std::shared_ptr<Term>> all) : terms(std::move(all)) {}
  Tensor forward(const Tensor& x) override { return x; }
  void visit(nn::Visitor& v) override {
    for (size_t i = 0; i < terms.size(); ++i) v(std::to_string(i), fields[i]);
  }
  std::string describe() const override { return "Learned"; }

  /// Gives a term's fields a name of their own.
  struct Fields final : nn::Module {
    explicit Fields(std::shared_ptr<Term> t) : term(std::move(t)) {}
    Tensor forward(const Tensor& x) override { return x; }
    void visit(nn::Visitor& v) override { term->visit(v); }
    std::string describe() const override { return "Term"; }
    std::shared_ptr<Term> term;
  };

  void wrap() {
    fields.clear();
    for (const auto& term : terms) fields.emplace_back(Fields(term));
  }

  std::vector<std::shared_ptr<Term>> terms;
  std::vector<nn::Layer> fields;
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
    : student_(student),
      teacher_(teacher),
      ce_(options.cross_entropy.value_or(usual_cross_entropy(options.terms))),
      label_smoothing_(options.label_smoothing) {
  PARE_CHECK(!options.terms.empty(), "distill: there is no loss", hint("kd:4:0.7 is a good start"));
  nn::set_training(teacher_, false);
  nn::set_requires_grad(teacher_, false);
  student_taps_ = std::make_unique<Taps>(student_, all_paths(options.terms, student_path),
                                         "student", /*always=*/true);
  teacher_taps_ = std::make_unique<Taps>(teacher_, all_paths(options.terms, teacher_path),
                                         "teacher", /*always=*/true);
  const NoGrad guard;
  const Tensor t = ask_teacher(example);
  const Tensor z = [&] {
    const nn::EvalMode eval(student_);
    return student_(example);
  }();
  PARE_CHECK(z.shape() == t.shape(), "distill: the student's logits are ", z.shape(),
             ", the teacher's ", t.shape(), hint("both must know the same classes"));
  std::vector<std::shared_ptr<Term>> learned;
  for (const TermSpec& spec : options.terms) {
    Part part{spec, find_term(spec.name).make(spec.numbers), {}, {}};
    for (const Place& p : spec.places) {
      part.student.push_back(p.student), part.teacher.push_back(p.teacher);
    }
    const Answer from = answer(z, *student_taps_, part.student);
    const Answer to = answer(t, *teacher_taps_, part.teacher);
    part.term->prepare(from, to, rng);
    (*part.term)(from, to, Tensor::zeros({example.dim(0)}))
        .item();  // refuses sizes that do not fit
    learned.push_back(part.term);
    parts_.push_back(std::move(part));
  }
  Learned fields(std::move(learned));
  fields.wrap();
  learned_ = std::move(fields);
  student_taps_->clear(), teacher_taps_->clear();
  student_taps_->only_with_gradients();
}

Answer Distiller::answer(const Tensor& logits, const Taps& taps,
                         const std::vector<std::string>& paths) const {
  return {logits, taps.of(paths)};
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
    const Tensor value = (*part.term)(answer(logits, *student_taps_, part.student),
                                      answer(t, *teacher_taps_, part.teacher), batch.y);
    last_.push_back(value.item());
    add(static_cast<float>(part.spec.weight()), value);
  }
  student_taps_->clear(), teacher_taps_->clear();
  PARE_CHECK(loss, "distill: all weights are 0");
  return loss;
}

}  // namespace pare::distill
