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

std::vector<std::string> student_paths(const std::vector<TermSpec>& terms) {
  std::vector<std::string> all;
  for (const TermSpec& spec : terms) {
    for (const Place& place : spec.places) all.push_back(place.student);
  }
  return all;
}

std::vector<std::string> teacher_paths(const std::vector<TermSpec>& terms) {
  std::vector<std::string> all;
  for (const TermSpec& spec : terms) {
    if (!find_term(spec.name).asks_teacher) continue;
    for (const Place& place : spec.places) all.push_back(place.teacher);
  }
  return all;
}

}  // namespace

Distiller::Distiller(nn::Layer& student, nn::Layer& teacher, const DistillerOptions& options,
                     const Tensor& example, Rng& rng)
    : teacher_(teacher),
      cache_(options.cache),
      ce_(options.cross_entropy.value_or(usual_cross_entropy(options.terms))),
      label_smoothing_(options.label_smoothing) {
  check(options);
  nn::set_training(teacher_, false);
  nn::set_requires_grad(teacher_, false);
  student_taps_ = std::make_unique<Taps>(student, student_paths(options.terms), "student",
                                         /*always=*/true);
  teacher_taps_ = std::make_unique<Taps>(teacher_, teacher_paths(options.terms), "teacher",
                                         /*always=*/true);
  const NoGrad guard;
  const Tensor t = teacher_ ? teacher_(example) : Tensor{};
  const Tensor z = [&] {
    const nn::EvalMode eval(student);
    return student(example);
  }();
  PARE_CHECK(!t || z.shape() == t.shape(), "distill: the student's logits are ", z.shape(),
             ", the teacher's ", t.shape(), hint("both must know the same classes"));
  for (const TermSpec& spec : options.terms) parts_.push_back(make_part(spec, student));
  collect(example, z, t);
  std::vector<nn::Layer> learned;
  for (Part& part : parts_) {
    part.term->prepare(part.from, part.to, rng);
    (*part.term)(part.from, part.to, Tensor::zeros({example.dim(0)}))
        .item();  // refuses sizes that do not fit
    learned.emplace_back(Fields(part.term));
    part.from = {}, part.to = {};
  }
  if (options.ema) learned.push_back(options.ema->state());
  learned_ = nn::Sequential(std::move(learned));  // "0" is the first term
  student_taps_->clear(), teacher_taps_->clear();
  student_taps_->only_with_gradients();
}

void Distiller::check(const DistillerOptions& options) const {
  PARE_CHECK(!options.terms.empty(), "distill: there is no loss", hint("kd:4:0.7 is a good start"));
  for (const TermSpec& spec : options.terms) {
    const TermInfo& info = find_term(spec.name);
    PARE_CHECK(teacher_ || !info.asks_teacher, "distill: ", spec.name, " needs a teacher");
    PARE_CHECK(!cache_ || !info.asks_teacher || spec.places.empty(), "distill: ", spec.name,
               " compares features, for which the teacher must run; a cache keeps logits alone");
  }
}

Distiller::Part Distiller::make_part(const TermSpec& spec, nn::Layer& student) {
  const TermInfo& info = find_term(spec.name);
  Part part{spec, info.make(spec.numbers), {}, {}};
  part.term->join(student, teacher_, spec.places);
  for (const Place& p : spec.places) {
    part.student.push_back(p.student);
    if (info.asks_teacher) part.teacher.push_back(p.teacher);
  }
  return part;
}

Tensor Distiller::ask_teacher(const Tensor& images) {
  if (!teacher_) return {};
  if (cache_) {
    if (const Tensor known = cache_->find(images)) return known;
  }
  const NoGrad guard;
  const Tensor logits = teacher_(images);
  if (cache_) cache_->add(images, logits);
  return logits;
}

void Distiller::collect(const Tensor& images, const Tensor& z, const Tensor& t) {
  for (Part& part : parts_) {
    part.from = {z, student_taps_->of(part.student), images};
    part.to = {t, teacher_taps_->of(part.teacher), images};
  }
  student_taps_->clear(), teacher_taps_->clear();
}

Tensor Distiller::operator()(const Tensor& logits, const Batch& batch) {
  collect(batch.x, logits, ask_teacher(batch.x));
  Tensor loss;
  const auto add = [&](float weight, const Tensor& value) {
    if (weight == 0) return;
    const Tensor weighted = weight == 1 ? value : weight * value;
    loss = loss ? loss + weighted : weighted;
  };
  if (ce_ > 0) add(ce_, cross_entropy(logits, batch.y, label_smoothing_));
  last_.clear();
  for (Part& part : parts_) {
    const Tensor value = (*part.term)(part.from, part.to, batch.y);
    part.from = {}, part.to = {};
    last_.push_back(value.item());
    add(static_cast<float>(part.spec.weight()), value);
  }
  student_taps_->clear(), teacher_taps_->clear();
  PARE_CHECK(loss, "distill: all weights are 0");
  return loss;
}

}  // namespace pare::distill
