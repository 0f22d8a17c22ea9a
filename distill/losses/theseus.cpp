// Module replacing (BERT-of-Theseus), Xu et al. 2020, arXiv:2002.02925. The teacher runs once more,
// with each of the places replaced by the student's module there with probability `rate`, and at
// least one of them:
//   L = cross_entropy(h(x), y),   h_i = r_i student_i + (1 - r_i) teacher_i,   r_i ~
//   Bernoulli(rate)
// Gradients pass through the teacher's modules, which stay as they are, to the student's. The
// student's modules must take the teacher's maps and give maps of the teacher's shape.

#include "core/autograd.h"
#include "core/ops.h"
#include "distill/term.h"

namespace pare::distill {

namespace {

nn::Layer& layer_at(nn::Layer& model, const std::string& path) {
  nn::Layer* found = nullptr;
  nn::for_each_layer(model, [&](const std::string& p, nn::Layer& layer) {
    if (p == path) found = &layer;
  });
  PARE_CHECK(found, "theseus: there is no module '", path, "'");
  return *found;
}

/// The student's modules stand in for the teacher's while this lives.
class Replaced {
 public:
  Replaced(nn::Layer& student, nn::Layer& teacher, const std::vector<Place>& places) {
    for (const Place& p : places) {
      pairs_.push_back({&layer_at(student, p.student), &layer_at(teacher, p.teacher)});
    }
    swap();
  }
  ~Replaced() { swap(); }
  Replaced(const Replaced&) = delete;
  Replaced& operator=(const Replaced&) = delete;

 private:
  void swap() {
    for (const auto& [mine, theirs] : pairs_) std::swap(*mine, *theirs);
  }
  std::vector<std::pair<nn::Layer*, nn::Layer*>> pairs_;
};

struct Theseus final : Term {
  explicit Theseus(double r) : rate(static_cast<float>(r)) {
    PARE_CHECK(rate <= 1, "theseus: rate is a probability, got ", rate);
  }
  void join(nn::Layer& s, nn::Layer& t, const std::vector<Place>& p) override {
    student = &s, teacher = &t, places = p;
  }
  void prepare(const Answer& from, const Answer& to, Rng& rng) override {
    key = rng.next();
    const NoGrad guard;
    const nn::EvalMode eval(*student);
    for (size_t i = 0; i < places.size(); ++i) {
      const Shape &mine = from.features[i].shape(), &theirs = to.features[i].shape();
      PARE_CHECK(mine == theirs, "theseus: the student's ", places[i].student, " gives ", mine,
                 ", the teacher's ", places[i].teacher, " gives ", theirs,
                 hint("the stages of both networks must have the same sizes"));
      hybrid({places[i]}, from.images);  // refuses inputs that do not fit
    }
  }
  Tensor operator()(const Answer& from, const Answer&, const Tensor& labels) const override {
    if (!grad_enabled()) return cross_entropy(hybrid(places, from.images), labels);
    return cross_entropy(hybrid(draw(), from.images), labels);
  }
  void visit(nn::Visitor& v) override { v.buffer("steps", steps); }

  Tensor hybrid(const std::vector<Place>& replaced, const Tensor& images) const {
    const Replaced now(*student, *teacher, replaced);
    return (*teacher)(images);
  }
  /// By the number of steps alone, so that a resumed run draws the same.
  std::vector<Place> draw() const {
    float& step = const_cast<Tensor&>(steps).data()[0];
    Rng rng = Rng(key).split(static_cast<uint64_t>(step));
    step += 1;
    std::vector<Place> chosen;
    for (const Place& p : places) {
      if (rng.coin(rate)) chosen.push_back(p);
    }
    const auto any = static_cast<size_t>(rng.below(static_cast<int64_t>(places.size())));
    return chosen.empty() ? std::vector<Place>{places[any]} : chosen;
  }

  float rate;
  nn::Layer *student = nullptr, *teacher = nullptr;
  std::vector<Place> places;
  uint64_t key = 0;
  Tensor steps = Tensor::zeros({1});
};

}  // namespace

namespace parts {

TermInfo theseus() {
  return {"theseus",
          "the student's modules in the teacher's place, arXiv:2002.02925",
          {{"rate", 0.5, 0}, {"weight", 1, 0}},
          1,
          8,
          [](const std::vector<double>& n) { return std::make_unique<Theseus>(n[0]); }};
}

}  // namespace parts

}  // namespace pare::distill
