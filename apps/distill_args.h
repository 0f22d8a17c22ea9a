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
  std::string teacher, teacher_model, teacher_shortcut, cache;
  std::vector<int64_t> teacher_widths;
  std::vector<std::string> losses;
  float cross_entropy = -1;  // < 0: as the losses say
  int64_t cache_views = 0;   // 0: without limit

  /// With these flags the program distils, without them it trains as usual.
  void fields(cli::Fields& f);
  void check(const cli::Given& given, bool augmented) const;
  bool active() const { return !teacher.empty(); }
  /// Decay of the teacher that is the student's moving average; 0: it is not.
  float ema_decay() const;
  bool from_file() const { return active() && teacher != "none" && ema_decay() == 0; }
};

/// The teacher and what the student learns from it.
class Distillation {
 public:
  struct Options {
    float label_smoothing = 0;
    uint64_t seed = 0;
    bool writes_cache = true;
  };
  /// `example` are a few training images; the student must outlive this.
  Distillation(const DistillArgs& args, nn::Layer& student, const ModelCard& student_card,
               const Tensor& example, const Options& options);

  distill::Distiller& objective() { return *distiller_; }
  nn::Layer& learned() { return distiller_->learned(); }
  /// To be called after every step of the student's optimizer.
  void after_step() {
    if (ema_) ema_->update();
  }
  /// To be called when training ends.
  void save_cache() {
    if (cache_) cache_->save();
  }
  /// Lines for the head of a run: the teacher, then the objective.
  std::string describe_teacher() const { return teacher_text_; }
  std::string describe_objective() const;

 private:
  void load_teacher(const DistillArgs& args, const ModelCard& student_card, bool writes_cache);
  nn::Layer& teacher() { return ema_ ? ema_->network() : teacher_; }

  nn::Layer teacher_;
  std::unique_ptr<distill::EmaTeacher> ema_;
  std::unique_ptr<distill::TeacherCache> cache_;
  std::string teacher_text_;
  distill::DistillerOptions options_;
  std::unique_ptr<distill::Distiller> distiller_;
};

}  // namespace pare
