// Deep supervision, Lee et al. 2015, arXiv:1409.5185, and self-distillation (be your own teacher),
// Zhang et al. 2019, arXiv:1905.08094. Each place gets a classifier c of its own, learned along:
// global average pooling and a linear layer. It learns the labels y and what the last layer says.
//   L = (1 - soft) cross-entropy(c(F), y) + soft T^2 KL(softmax(z / T) || softmax(c(F) / T))
// summed over the places; z, the student's own logits, have no gradient here.

#include "core/ops.h"
#include "distill/losses.h"
#include "distill/relations.h"
#include "distill/term.h"
#include "nn/init.h"
#include "nn/layers.h"

namespace pare::distill {

Tensor deep_supervision(const Tensor& classifier, const Tensor& z, const Tensor& labels,
                        const DeepOptions& o) {
  check_logits("deep", classifier, z);
  const Tensor hard = cross_entropy(classifier, labels);
  return (1 - o.soft) * hard + o.soft * kd(classifier, z.detach(), {.temperature = o.temperature});
}

namespace {

struct Deep final : Term {
  Deep(double soft, double temperature)
      : options{static_cast<float>(soft), static_cast<float>(temperature)} {
    PARE_CHECK(options.soft <= 1, "deep: soft is a share of the loss, got ", options.soft);
  }
  void prepare(const Answer& student, const Answer&, Rng& rng) override {
    classifiers.clear();
    const int64_t classes = student.logits.dim(1);
    for (const Tensor& f : student.features) {
      std::vector<nn::Layer> layers;
      if (f.dims() == 4) layers = {nn::GlobalAvgPool2d(), nn::Flatten()};
      layers.emplace_back(nn::Linear({.in = f.dim(-1), .out = classes}));
      classifiers.emplace_back(nn::Sequential(std::move(layers)));
      nn::init(classifiers.back(), rng);
    }
  }
  Tensor operator()(const Answer& student, const Answer&, const Tensor& labels) const override {
    return sum_over_places(classifiers.size(), [&](size_t i) {
      return deep_supervision(classifiers[i](student.features[i]), student.logits, labels, options);
    });
  }
  void visit(nn::Visitor& v) override {
    for (size_t i = 0; i < classifiers.size(); ++i) v(std::to_string(i), classifiers[i]);
  }

  DeepOptions options;
  std::vector<nn::Layer> classifiers;
};

}  // namespace

namespace parts {

TermInfo deep() {
  return {"deep",
          "a classifier at each place, of labels and the last layer's answer, arXiv:1905.08094; "
          "needs no teacher",
          {{"soft", 0.5, 0}, {"temperature", 3, 0.01}, {"weight", 0.3, 0}},
          1,
          8,
          [](const std::vector<double>& n) { return std::make_unique<Deep>(n[0], n[1]); },
          /*asks_teacher=*/false};
}

}  // namespace parts

}  // namespace pare::distill
