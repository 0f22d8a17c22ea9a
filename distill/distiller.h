#pragma once
// Student, teacher and terms as the loss of a training run:
//   L = ce * cross_entropy(z, y) + sum of weight * term
// The teacher runs in evaluation mode and without gradients, on the student's own images.
//
//   Distiller distiller(student, teacher, {parse_term("kd:4:0.7")}, example, rng);
//   options.loss = std::ref(distiller), options.beside = &distiller.learned();

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/batch.h"
#include "distill/ema_teacher.h"
#include "distill/features.h"
#include "distill/teacher_cache.h"
#include "distill/term.h"
#include "nn/module.h"

namespace pare::distill {

struct DistillerOptions {
  std::vector<TermSpec> terms;
  /// Weight of the cross-entropy; not given: 1 - weight of kd if there is one, else 1.
  std::optional<float> cross_entropy = {};
  float label_smoothing = 0;
  /// Of the teacher's logits: what is in there is not asked for again. Only for terms that compare
  /// logits. It must outlive the distiller.
  TeacherCache* cache = nullptr;
  /// If the teacher is one: kept with what is learned, for a resume. Its update() is the caller's.
  EmaTeacher* ema = nullptr;
};

class Distiller {
 public:
  /// `example` [N, H, W, C], two images or more, shows the terms the sizes of both networks. Both
  /// must outlive the distiller, which watches the student's forward passes on this thread. An
  /// empty teacher does for terms that do not ask for one. Throws if a place does not exist, sizes
  /// do not fit, or the networks disagree about the classes.
  Distiller(nn::Layer& student, nn::Layer& teacher, const DistillerOptions& options,
            const Tensor& example, Rng& rng);

  /// The loss of the batch that the student has just seen. Frees the features that it kept.
  Tensor operator()(const Tensor& logits, const Batch& batch);

  /// Regressors and variances, as one layer: train them with the student.
  nn::Layer& learned() { return learned_; }
  float cross_entropy_weight() const { return ce_; }
  /// Value of each term in the last batch, without its weight, in order of the options.
  const std::vector<float>& last() const { return last_; }

 private:
  struct Part {
    TermSpec spec;
    std::shared_ptr<Term> term;
    std::vector<std::string> student, teacher;  // paths
    Answer from = {}, to = {};                  // to the running batch
  };

  void check(const DistillerOptions& options) const;
  Part make_part(const TermSpec& spec, nn::Layer& student);
  Tensor ask_teacher(const Tensor& images);
  /// Before any term runs, for one may run the networks again.
  void collect(const Tensor& images, const Tensor& z, const Tensor& t);

  nn::Layer& teacher_;
  TeacherCache* cache_;
  std::vector<Part> parts_;
  float ce_, label_smoothing_;
  std::unique_ptr<Taps> student_taps_, teacher_taps_;
  nn::Layer learned_;
  std::vector<float> last_;
};

}  // namespace pare::distill
