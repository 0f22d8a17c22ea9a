#pragma once
// A teacher beside a training run: flags, its network, the objective.

#include <memory>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "apps/data.h"
#include "apps/model.h"
#include "distill/distiller.h"

namespace pare {

struct DistillArgs {
  std::string teacher, teacher_model, teacher_shortcut;
  std::vector<int64_t> teacher_widths;
  std::vector<std::string> losses;
  float cross_entropy = -1;  // < 0: as the losses say

  /// With these flags the program distils, without them it trains as usual.
  void fields(cli::Fields& f);
  void check(const cli::Given& given) const;
  bool active() const { return !teacher.empty(); }
};

/// The teacher and what the student learns from it.
class Distillation {
 public:
  /// `example` are a few training images; the student must outlive this.
  Distillation(const DistillArgs& args, nn::Layer& student, const ModelCard& student_card,
               float label_smoothing, const Tensor& example, uint64_t seed);

  distill::Distiller& objective() { return *distiller_; }
  nn::Layer& learned() { return distiller_->learned(); }
  /// Lines for the head of a run: the teacher, then the objective.
  std::string describe_teacher() const { return teacher_text_; }
  std::string describe_objective() const;

 private:
  nn::Layer teacher_;
  std::string teacher_text_;
  distill::DistillerOptions options_;
  std::unique_ptr<distill::Distiller> distiller_;
};

}  // namespace pare
