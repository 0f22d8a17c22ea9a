#include "apps/train_args.h"

#include <algorithm>

#include "apps/common_fields.h"
#include "nn/schedule.h"
#include "prune/gates.h"
#include "quant/calibrate.h"

namespace pare {

namespace {

void optimization_fields(TrainArgs& a, cli::Fields& f) {
  f.group("Optimization");
  f(a.recipe, "recipe",
    str("sets what no flag says: none (the defaults below), imagenet (90 epochs of 256 images, lr "
        "0.1 per 256, warm-up and cosine, label smoothing 0.1, no decay on batch norm and biases, "
        "ema 0.9999)",
        a.recipe.empty() ? "; imagenet for --dataset imagenet if not given" : ""),
    {.one_of = {"none", "imagenet"}, .placeholder = "NAME"});
  f(a.epochs, "epochs", "passes over the training set", {.min = 1});
  f(a.batch_size, "batch-size", "images per step, of all processes together", {.min = 1});
  f(a.optimizer, "optimizer", "sgd, adam or adamw",
    {.one_of = {"sgd", "adam", "adamw"}, .placeholder = "NAME"});
  f(a.lr, "lr", "learning rate", {.min = 0, .above_min = true});
  f(a.wd, "wd", "weight decay", {.min = 0});
  f(a.momentum, "momentum", "of sgd", {.min = 0, .max = 1});
  f(a.nesterov, "nesterov", "Nesterov momentum, for sgd");
  f(a.no_decay_norm, "no-decay-norm", "no weight decay on batch norm and biases");
  f(a.schedule, "schedule",
    "constant, cosine, one-cycle, multistep:80,130:0.1; each may follow warmup:5+");
  f(a.calib, "calib", "training images that set the ranges of quantizers before training",
    {.min = 1});
  f(a.quant_lr, "quant-lr", "what quantizers learn (steps, clipping levels): times --lr",
    {.min = 0});
  f(a.quant_wd, "quant-wd", "weight decay on what quantizers learn", {.min = 0});
  f(a.label_smoothing, "label-smoothing", "share of the target spread over all classes",
    {.min = 0, .max = 0.99});
  f(a.clip_grad, "clip-grad", "largest joint norm of the gradients; 0: any", {.min = 0});
  f(a.ema, "ema",
    "decay of averaged weights, e.g. 0.999, which are then tested and saved as best; 0: off "
    "(better for binary and ternary weights, whose averages round to other codes)",
    {.min = 0, .max = 0.999999});
  f(a.sync_bn, "sync-bn",
    "batch norm over the batches of all processes (mpirun), not over each one's part");
  f(a.seed, "seed", "of initialization, shuffling, augmentation and dropout", {.min = 0});
  f(a.steps, "steps", "stop after N optimizer steps, counted from the start of the run; 0: do not",
    {.min = 0});
}

void run_fields(TrainArgs& a, cli::Fields& f) {
  f.group("Run");
  f(a.out, "out", "run folder; runs/PROGRAM-MODEL-TIME if not given", {.placeholder = "DIR"});
  f(a.force, "force", "overwrite the run in --out");
  f(a.resume, "resume",
    "continue the run in --out exactly; its options are taken from its config.json");
  f(a.init, "init", "start from the float weights in this file; quantizers start afresh",
    {.placeholder = "FILE"});
  f(a.refine, "refine",
    "train this checkpoint on, quantizers as they are, with a new optimizer and schedule",
    {.placeholder = "FILE"});
  f(a.save_every, "save-every", "write last.safetensors every N steps too; 0: after epochs only",
    {.min = 0});
  a.compute.fields(f);
  cli::output_fields(f, a.quiet, a.json);
}

}  // namespace

void TrainArgs::fields(cli::Fields& f, bool with_quant) {
  model.fields(f, with_quant);
  data.fields(f, /*training=*/true);
  if (with_quant) {
    f(quant_schedule, "quant-schedule",
      "schemes by the epoch with which they begin, such as "
      "\"0:float;40:uniform:W8A8;60:lsq:W4A4\"; "
      "each starts from the best weights of the one before, optimizer and --schedule anew",
      {.placeholder = "TEXT"});
  }
  augment.fields(f);
  optimization_fields(*this, f);
  sparse.fields(f);
  run_fields(*this, f);
}

void TrainArgs::check(const cli::Given& given) const {
  augment.check(given, data.name());
  PARE_CHECK(init.empty() || refine.empty(), "--init and --refine exclude each other",
             hint("--init drops the state of quantizers, --refine keeps it"));
  PARE_CHECK(!(resume && force), "--resume and --force exclude each other");
  PARE_CHECK(!nesterov || (optimizer == "sgd" && momentum > 0),
             "--nesterov needs --optimizer sgd and a momentum above 0, got ", optimizer, " and ",
             momentum);
  PARE_CHECK(!given.has("momentum") || optimizer == "sgd",
             "--momentum is for --optimizer sgd, got ", optimizer);
  distill.check(given, !augment.describe(data.name(), 3).empty());
  nn::parse_schedule(schedule, lr);
  sparse.check(given, model.gates, ema);
  PARE_CHECK(model.gates.empty() || (model.quant.empty() && quant_schedule.empty()),
             "--gates are merged before quantizers go in", hint("prune first, then quantize"));
  if (!quant_schedule.empty()) return check_stages();
  if (!model.quant.empty() || !init.empty() || !refine.empty() || resume) return;
  for (const char* flag : {"calib", "quant-lr", "quant-wd"}) {
    PARE_CHECK(!given.has(flag), "--", flag, " is for quantizers, and this model has none");
  }
}

void TrainArgs::check_stages() const {
  PARE_CHECK(model.quant.empty(), "--quant and --quant-schedule exclude each other",
             hint("the schedule names the quantizers of every stage"));
  PARE_CHECK(refine.empty(), "--refine keeps quantizers, and --quant-schedule begins with others",
             hint("start it from weights alone: --init"));
  PARE_CHECK(steps == 0, "--steps counts those of one training, and --quant-schedule is several");
}

void TrainArgs::apply_recipe(const cli::Given& given) {
  if (recipe.empty()) recipe = datasets::has_photos(data.name()) ? "imagenet" : "none";
  if (recipe == "none") return;
  const auto set = [&](auto& value, const char* flag, auto to) {
    if (!given.has(flag)) value = to;
  };
  set(epochs, "epochs", 90);
  set(batch_size, "batch-size", 256);
  set(data.eval_batch_size, "eval-batch-size", 64);
  // arXiv:1706.02677: the rate grows with the batch.
  if (optimizer == "sgd") set(lr, "lr", 0.1f * static_cast<float>(batch_size) / 256);
  set(schedule, "schedule", str("warmup:", std::max<int64_t>(1, epochs / 18), "+cosine"));
  set(label_smoothing, "label-smoothing", 0.1f);
  no_decay_norm = true;
  if (!sparse.makes_zeros()) set(ema, "ema", 0.9999f);  // it would average the zeros away
}

std::unique_ptr<nn::Optimizer> TrainArgs::make_optimizer(nn::Layer& net, nn::Layer* beside) const {
  std::vector<nn::ParamGroup> groups =
      quant::param_groups(net, {.weight_decay = wd,
                                .decay_norm_and_bias = !no_decay_norm,
                                .quant_weight_decay = quant_wd,
                                .quant_lr_scale = quant_lr});
  if (beside) {
    nn::ParamGroup learned{.params = nn::parameters(*beside), .weight_decay = wd};
    for (nn::NamedTensor& p : learned.params) p.name = "beside." + p.name;
    groups.push_back(std::move(learned));
  }
  prune::separate_gates(groups);
  if (optimizer == "adam") return nn::adam(std::move(groups), {.lr = lr});
  if (optimizer == "adamw") return nn::adamw(std::move(groups), {.lr = lr});
  return nn::sgd(std::move(groups), {.lr = lr, .momentum = momentum, .nesterov = nesterov});
}

std::unique_ptr<BatchSource> TrainArgs::train_batches(
    std::shared_ptr<const datasets::ImageSet> images) const {
  const int64_t channels = images->image.dim(-1);
  return datasets::loader(std::move(images),
                          {.batch_size = batch_size,
                           .shuffle = true,
                           .augment = augment.options(data.name(), channels),
                           .views = distill.cache_views,
                           .normalize = datasets::normalize_preset(data.normalization()),
                           .seed = static_cast<uint64_t>(seed),
                           .threads = static_cast<int>(data.workers),
                           .rank = group->rank(),
                           .ranks = group->size()});
}

TrainArgs experiment_defaults() {
  TrainArgs a;
  a.recipe = "none";
  a.model.model = "nin_gc";
  a.optimizer = "adam";
  a.lr = 0.01f;
  a.wd = 0;
  a.batch_size = 50;
  a.epochs = 300;
  a.schedule = "multistep:80,130,180,230,280";
  return a;
}

const cli::Exceptions& resume_exceptions() {
  static const cli::Exceptions exceptions{
      .skip = {"steps", "out", "force", "resume", "quiet", "json"},
      .may_differ = {"epochs", "threads", "save-every", "data", "eval-batch-size", "workers"}};
  return exceptions;
}

}  // namespace pare
