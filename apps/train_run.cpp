#include "apps/train_run.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <ctime>

#include "apps/interrupt.h"
#include "apps/processes.h"
#include "apps/train_report.h"
#include "apps/train_stages.h"
#include "apps/train_view.h"
#include "core/kernels/isa.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "nn/state.h"
#include "quant/calibrate.h"
#include "quant/conv_bn.h"

namespace pare {

namespace {

std::string last_word(const std::string& program) {
  return program.substr(program.find_last_of(' ') + 1);
}

std::string default_out(const std::string& program, const std::string& model) {
  return fmt::format("runs/{}-{}-{:%Y%m%d-%H%M%S}", last_word(program), model,
                     fmt::localtime(std::time(nullptr)));
}

/// One training run: the pieces in the order in which they come to be.
class Run {
 public:
  Run(TrainArgs& args, const cli::Fields& fields, const cli::Given& given, std::string program,
      Console& console)
      : args_(args),
        fields_(fields),
        given_(given),
        program_(std::move(program)),
        group_(*args.group),
        console_(console),
        folder_(args.out, !group_.first() ? RunFolder::Mode::absent
                          : args.resume   ? RunFolder::Mode::resume
                          : args.force    ? RunFolder::Mode::overwrite
                                          : RunFolder::Mode::fresh) {}

  RunOutcome operator()() {
    args_.compute.apply();
    if (args_.compute.threads == 0) share_processors(group_);
    check_same_isa(group_);
    read_start();
    train_images_ = load_split(args_.data, datasets::Split::train);
    test_images_ = load_split(args_.data, datasets::Split::test);
    build_model();
    return args_.calibrate_only ? save_calibrated() : train();
  }

 private:
  /// The weights to start from; what they say about model and data holds unless flags say
  /// otherwise.
  void read_start() {
    if (args_.resume) {
      const std::string last = folder_.file("last.safetensors");
      const auto card = ModelCard::read(safetensors::read_header(last), last);
      if (card) card_.changes = card->changes, card_.quantizers = card->quantizers;
      return;
    }
    start_ = args_.init.empty() ? args_.refine : args_.init;
    if (start_.empty()) return;
    start_file_ = safetensors::read(start_);
    const auto card = ModelCard::read(start_file_, start_);
    if (!card) return;
    card_.changes = card->changes;
    if (!args_.refine.empty()) card_.quantizers = card->quantizers;
    std::set<std::string> skip{"bn-momentum", "dropout"};
    if (!args_.init.empty()) {
      skip.insert({"quant", "gates"});
      PARE_CHECK(card->args.gates.empty(), start_, ": holds a network with gates",
                 hint("merge them with pare prune, or train it on with --refine"));
    }
    adopt(args_.model, *card, given_, skip, start_);
    args_.data.adopt(card->dataset, card->normalize, card->photos, given_);
  }

  void build_model() {
    card_.args = args_.model;
    card_.classes = train_images_->classes(), card_.image = train_images_->image;
    card_.dataset = args_.data.name(), card_.normalize = args_.data.normalization();
    card_.photos = args_.data.photos;
    model_ = build_float(card_);
    Rng rng(static_cast<uint64_t>(args_.seed));
    initialize(model_, args_.model.model, rng);
    if (!start_.empty() && !args_.init.empty()) load_float_weights(model_, start_file_, start_);
    quantizers_ = quantize(model_, card_);
    if (!start_.empty() && !args_.refine.empty()) {
      load_weights(model_, start_file_, start_);
    } else if (!args_.resume && quant::wants_calibration(model_)) {
      quant::calibrate(model_, *samples(), args_.calib);
    }
    if (args_.freeze_quant) {
      quant::freeze_ranges(model_);
      quant::freeze_norms(model_);
    }
    start_file_ = {};
    summary_ = nn::summarize(model_, card_.image);
  }

  RunOutcome train() {
    begin_distillation();
    if (args_.sync_bn) synchronize();
    nn::Layer* const beside = distillation_ ? &distillation_->learned() : nullptr;
    const auto optimizer = args_.make_optimizer(model_, beside);
    const auto train_set = args_.train_batches(train_images_);
    const auto test_set = test_batches(args_.data, test_images_);
    print_head(described(), console_);
    if (args_.resume) check_isa();
    TrainView view(console_, folder_, args_.epochs, {train_images_, test_images_});
    nn::Trainer trainer(model_, *optimizer, *train_set, *test_set, options(), &view);
    if (args_.resume) trainer.resume(folder_.file("last.safetensors"));
    sparse_.emplace(args_.sparse, model_, card_);
    folder_.open(config_json(args_, fields_, program_));
    if (args_.resume) folder_.keep_rows(trainer.state().epoch);
    catch_interrupts();
    const nn::TrainResult result = trainer.run();
    if (distillation_) distillation_->save_cache();
    return finish(result);
  }

  void synchronize() {
    nn::for_each_layer(model_, [](const std::string& path, nn::Layer& layer) {
      PARE_CHECK(!layer.as<quant::ConvBn>(), "--sync-bn: the batch norm of ", path,
                 " is folded into its convolution while training",
                 hint("leave out --sync-bn, or the scheme's bn="));
    });
    nn::synchronize_batch_norm(model_, group_);
  }

  /// Training images as they are.
  std::unique_ptr<BatchSource> samples() const {
    return sample_batches(args_.data, train_images_, args_.batch_size, args_.seed);
  }

  void begin_distillation() {
    if (!args_.distill.active()) return;
    const auto batches = samples();
    batches->start(0);
    constexpr int64_t kExamples = 4;
    const Tensor images = batches->next().value().x;
    const Tensor example = slice(images, 0, 0, std::min(kExamples, images.dim(0)));
    const Distillation::Options options{.label_smoothing = args_.label_smoothing,
                                        .seed = static_cast<uint64_t>(args_.seed),
                                        .writes_cache = group_.first()};
    distillation_.emplace(args_.distill, model_, card_, example, options);
  }

  /// Quantized as calibration left it: tested and saved like the best epoch of a training.
  RunOutcome save_calibrated() {
    print_head(described(), console_);
    const auto test_set = test_batches(args_.data, test_images_);
    test_set->start(0);
    const auto began = std::chrono::steady_clock::now();
    nn::TrainResult r;
    r.last = nn::evaluate(model_, *test_set);
    r.best_top1 = r.last.top1();
    r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    folder_.open(config_json(args_, fields_, program_));
    if (group_.first()) {
      nn::save_weights(folder_.file("best.safetensors"), model_, card_.metadata());
    }
    const Json summary = summary_json(described(), r);
    folder_.write_summary(summary);
    console_.print("");
    console_.entry("tested", fmt::format("{:.2f} % top-1, {:.2f} % top-5, loss {:.4f}",
                                         r.last.top1(), r.last.top5(), r.last.loss()));
    console_.entry("files", fmt::format("{}\n{}", folder_.file("best.safetensors"),
                                        folder_.file("summary.json")));
    return {0, summary};
  }

  nn::TrainOptions options() {
    nn::TrainOptions o;
    o.epochs = args_.epochs;
    o.max_steps = args_.steps;
    o.schedule = nn::parse_schedule(args_.schedule, args_.lr);
    o.loss = nn::cross_entropy_loss(args_.label_smoothing);
    if (distillation_) {
      o.loss = std::ref(distillation_->objective());
      o.beside = &distillation_->learned();
    }
    o.penalties = args_.sparse.penalties(args_.model.gates);
    o.before_step = [this](double progress) { sparse_->before_step(progress); };
    o.after_step = [this](double progress) {
      sparse_->after_step(progress);
      if (distillation_) distillation_->after_step();
    };
    o.clip_grad = args_.clip_grad;
    o.ema = args_.ema;
    o.dir = folder_.path();
    o.save_every = args_.save_every;
    o.metadata = card_.metadata();
    o.stop = interrupted;
    o.group = &group_;
    return o;
  }

  /// Bits are the same for one instruction set only.
  void check_isa() {
    const std::string before = folder_.config().value("isa", "");
    if (before == isa_name(active_isa())) return;
    console_.entry("note",
                   fmt::format("the run was started with {}: set PARE_ISA={} for the same bits",
                               before, before));
  }

  RunOutcome finish(const nn::TrainResult& r) {
    const std::string again =
        args_.again.empty() ? resume_command(program_, folder_.path()) : args_.again;
    if (r.stop == nn::TrainResult::Stop::interrupted) {
      console_.print("");
      if (!group_.first()) return {kInterrupted, {}};
      fmt::print(stderr, "{}: interrupted after step {}, saved; continue with\n  {}\n", program_,
                 r.steps, again);
      return {kInterrupted,
              {{"stopped", "interrupted"}, {"steps", r.steps}, {"out", folder_.path()}}};
    }
    const Json summary = summary_json(described(), r);
    folder_.write_summary(summary);
    print_summary(described(), r, console_);
    if (r.stop == nn::TrainResult::Stop::max_steps) console_.entry("go on", again);
    return {0, summary};
  }

  TrainingRun described() {
    return {args_,         program_,
            folder_,       card_,
            model_,        summary_,
            quantizers_,   *train_images_,
            *test_images_, distillation_ ? &*distillation_ : nullptr};
  }

  TrainArgs& args_;
  const cli::Fields& fields_;
  const cli::Given& given_;
  std::string program_;
  Communicator& group_;
  Console& console_;
  RunFolder folder_;
  std::string start_;  // file of --init or --refine
  safetensors::File start_file_;
  std::shared_ptr<const datasets::ImageSet> train_images_, test_images_;
  ModelCard card_;
  nn::Layer model_;
  std::string quantizers_;
  nn::Summary summary_;
  std::optional<Distillation> distillation_;
  std::optional<SparseTraining> sparse_;
};

/// Takes the options of the run in --out.
void continue_run(const TrainArgs& args, const cli::Fields& fields, const cli::Given& given,
                  const std::string& program) {
  PARE_CHECK(!args.out.empty(), "--resume needs --out, the folder of the run to continue");
  const Json config = is_staged(args.out) ? read_json_file(args.out + "/config.json")
                                          : RunFolder(args.out, RunFolder::Mode::resume).config();
  const std::string by = config.value("program", "");
  PARE_CHECK(by == program && config.contains("options"), args.out, " is a run of '", by, "', got ",
             program, hint("resume it with the program that started it"));
  cli::inherit(fields, config.at("options"), given, args.out + " was started with",
               resume_exceptions());
}

}  // namespace

std::string resume_command(const std::string& program, const std::string& out) {
  return fmt::format("{} --resume --out {}", program, out);
}

RunOutcome train(TrainArgs& args, const cli::Fields& fields, cli::Given given,
                 const std::string& program, Console& console, const Complete& complete) {
  args.model.quant = canonical_quant(args.model.quant);  // as the run to resume has it
  if (args.resume) continue_run(args, fields, given, program);
  if (complete) complete(given);
  args.model.quant = canonical_quant(args.model.quant);
  if (!args.resume) args.apply_recipe(given);
  args.check(given);
  if (args.out.empty()) args.out = agree(*args.group, default_out(program, args.model.model));
  const auto run = [&] { return Run(args, fields, given, program, console)(); };
  return args.quant_schedule.empty() ? run() : train_stages(args, fields, program, console, run);
}

int train_program(TrainArgs& args, const cli::Fields& fields, const cli::Program& program, int argc,
                  char** argv, const Complete& complete) {
  return run_together(program.name, [&](Communicator& group) {
    const cli::Given given = cli::parse(fields, program, argc, argv);
    if (given.leave) return 0;
    args.group = &group;
    Console console({.json = args.json && group.first(), .quiet = args.quiet || !group.first()});
    const RunOutcome outcome = train(args, fields, given, program.name, console, complete);
    console.result(outcome.summary);
    return outcome.code;
  });
}

}  // namespace pare
