#include "apps/distill_args.h"

#include <fmt/format.h>

#include "apps/console.h"
#include "nn/describe.h"

namespace pare {

namespace {

/// What the teacher's file says about itself, or else the flags.
ModelCard teacher_card(const DistillArgs& args, const ModelCard& student,
                       const safetensors::File& file) {
  auto card = ModelCard::read(file, args.teacher);
  if (!card) {
    PARE_CHECK(!args.teacher_model.empty(), args.teacher, ": does not say which model it holds",
               hint("add --teacher-model (and --teacher-shortcut, --teacher-widths)"));
    card.emplace();
    card->args.model = args.teacher_model;
    card->args.shortcut = args.teacher_shortcut;
    card->args.widths = args.teacher_widths;
    card->classes = student.classes;
    card->image = student.image;
    return *card;
  }
  PARE_CHECK(args.teacher_model.empty() || args.teacher_model == card->args.model,
             "--teacher-model: got '", args.teacher_model, "', but ", args.teacher, " holds ",
             card->args.model);
  PARE_CHECK(card->normalize.empty() || card->normalize == student.normalize, args.teacher,
             ": was trained on images normalized as ", card->normalize, ", the student sees ",
             student.normalize, hint("add --normalize " + card->normalize));
  card->image = student.image;
  return *card;
}

}  // namespace

void DistillArgs::fields(cli::Fields& f) {
  f.group("Teacher");
  f(teacher, "teacher", "file with the teacher's weights", {.placeholder = "FILE"});
  f(teacher_model, "teacher-model", "its network, if the file does not say it",
    {.placeholder = "NAME"});
  f(teacher_shortcut, "teacher-shortcut", "its --shortcut, likewise");
  f(teacher_widths, "teacher-widths", "its --widths, likewise", {.min = 1});
  f(losses, "loss",
    "what the student learns from it, NAME[:NUMBER...][:PLACE+PLACE...]; once for each; kd if not "
    "given",
    {.placeholder = "TERM"});
  f(cross_entropy, "ce",
    "weight of the cross-entropy with the labels; below 0: 1 - the weight of kd, else 1");
}

void DistillArgs::check(const cli::Given& given) const {
  if (active()) {
    for (const std::string& text : losses) distill::parse_term(text);
    return;
  }
  for (const char* flag : {"teacher-model", "teacher-shortcut", "teacher-widths", "loss", "ce"}) {
    PARE_CHECK(!given.has(flag), "--", flag,
               " needs --teacher, the file with the teacher's weights");
  }
}

Distillation::Distillation(const DistillArgs& args, nn::Layer& student,
                           const ModelCard& student_card, float label_smoothing,
                           const Tensor& example, uint64_t seed) {
  const safetensors::File file = safetensors::read(args.teacher);
  const ModelCard card = teacher_card(args, student_card, file);
  teacher_ = build_float(card);
  quantize(teacher_, card);
  load_weights(teacher_, file, args.teacher);
  const nn::Summary summary = nn::summarize(teacher_, card.image);
  teacher_text_ = fmt::format("{}  {} parameters, {:.1f} M multiply-accumulates per image, {}",
                              card.args.model, format_count(summary.params),
                              static_cast<double>(summary.macs) / 1e6, args.teacher);
  for (const std::string& text : args.losses) options_.terms.push_back(distill::parse_term(text));
  if (options_.terms.empty()) options_.terms.push_back(distill::parse_term("kd"));
  if (args.cross_entropy >= 0) options_.cross_entropy = args.cross_entropy;
  options_.label_smoothing = label_smoothing;
  Rng rng(seed, /*stream=*/0x7eac4e);
  distiller_ = std::make_unique<distill::Distiller>(student, teacher_, options_, example, rng);
}

std::string Distillation::describe_objective() const {
  std::string text = fmt::format("{:g} cross-entropy", distiller_->cross_entropy_weight());
  for (const distill::TermSpec& spec : options_.terms) {
    text += fmt::format(" + {:g} {}", spec.weight(), distill::to_string(spec));
  }
  return text;
}

}  // namespace pare
