#include "apps/distill_args.h"

#include <fmt/format.h>

#include <charconv>

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
  f(teacher, "teacher",
    "file with the teacher's weights; ema[:DECAY]: the student's own moving average (0.999); none: "
    "the student alone (--loss deep)",
    {.placeholder = "FILE"});
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
  f(cache, "cache",
    "file that keeps the teacher's logits: each image is shown to the teacher once, by all runs",
    {.placeholder = "FILE"});
  f(cache_views, "cache-views",
    "crop and flip each image in N ways only, one per epoch in turn, so that --cache knows it "
    "again; 0: ever anew",
    {.min = 0});
}

float DistillArgs::ema_decay() const {
  if (teacher == "ema") return 0.999f;
  if (teacher.rfind("ema:", 0) != 0) return 0;
  float decay = 0;
  const char *first = teacher.data() + 4, *last = teacher.data() + teacher.size();
  const auto [end, error] = std::from_chars(first, last, decay);
  PARE_CHECK(error == std::errc{} && end == last && decay > 0 && decay < 1,
             "--teacher: expected ema:DECAY with a decay between 0 and 1, got '", teacher, "'");
  return decay;
}

void DistillArgs::check(const cli::Given& given, bool augmented) const {
  if (!active()) {
    for (const char* flag : {"teacher-model", "teacher-shortcut", "teacher-widths", "loss", "ce",
                             "cache", "cache-views"}) {
      PARE_CHECK(!given.has(flag), "--", flag,
                 " needs --teacher, the file with the teacher's weights");
    }
    return;
  }
  for (const std::string& text : losses) distill::parse_term(text);
  for (const char* flag : {"teacher-model", "teacher-shortcut", "teacher-widths", "cache"}) {
    PARE_CHECK(!given.has(flag) || from_file(), "--", flag,
               " is for a teacher from a file, got --teacher ", teacher);
  }
  PARE_CHECK(!given.has("cache-views") || !cache.empty(), "--cache-views is for --cache");
  PARE_CHECK(cache.empty() || !augmented || cache_views > 0,
             "--cache: random crops and flips show the teacher new images in every epoch",
             hint("--cache-views 10 repeats them after 10 epochs, --no-augment has none"));
}

Distillation::Distillation(const DistillArgs& args, nn::Layer& student,
                           const ModelCard& student_card, const Tensor& example,
                           const Options& options) {
  if (const float decay = args.ema_decay(); decay > 0) {
    ema_ = std::make_unique<distill::EmaTeacher>(student, decay);
    teacher_text_ = fmt::format("the student's moving average, decay {:g}", decay);
  } else if (args.from_file()) {
    load_teacher(args, student_card, options.writes_cache);
  } else {
    teacher_text_ = "none";
  }
  for (const std::string& text : args.losses) options_.terms.push_back(distill::parse_term(text));
  if (options_.terms.empty()) options_.terms.push_back(distill::parse_term("kd"));
  if (args.cross_entropy >= 0) options_.cross_entropy = args.cross_entropy;
  options_.label_smoothing = options.label_smoothing;
  options_.cache = cache_.get(), options_.ema = ema_.get();
  Rng rng(options.seed, /*stream=*/0x7eac4e);
  distiller_ = std::make_unique<distill::Distiller>(student, teacher(), options_, example, rng);
}

void Distillation::load_teacher(const DistillArgs& args, const ModelCard& student_card,
                                bool writes_cache) {
  const safetensors::File file = safetensors::read(args.teacher);
  const ModelCard card = teacher_card(args, student_card, file);
  teacher_ = build_float(card);
  quantize(teacher_, card);
  load_weights(teacher_, file, args.teacher);
  const nn::Summary summary = nn::summarize(teacher_, card.image);
  teacher_text_ = fmt::format("{}  {} parameters, {:.1f} M multiply-accumulates per image, {}",
                              card.args.model, format_count(summary.params),
                              static_cast<double>(summary.macs) / 1e6, args.teacher);
  if (args.cache.empty()) return;
  cache_ = std::make_unique<distill::TeacherCache>(
      args.cache,
      distill::CacheKey{distill::weights_hash(teacher_), student_card.dataset,
                        student_card.normalize},
      writes_cache);
  teacher_text_ +=
      fmt::format("\n{} answers known from {}", format_count(cache_->size()), args.cache);
}

std::string Distillation::describe_objective() const {
  std::string text = fmt::format("{:g} cross-entropy", distiller_->cross_entropy_weight());
  for (const distill::TermSpec& spec : options_.terms) {
    text += fmt::format(" + {:g} {}", spec.weight(), distill::to_string(spec));
  }
  return text;
}

}  // namespace pare
