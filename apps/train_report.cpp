#include "apps/train_report.h"

#include <fmt/format.h>

#include "apps/memory.h"
#include "apps/version.h"
#include "core/kernels/isa.h"
#include "core/parallel.h"
#include "prune/sparsity.h"

namespace pare {

Json config_json(const TrainArgs& args, const cli::Fields& fields, const std::string& program) {
  Json options = Json::object();
  for (const cli::Fields::Field& f : fields.all()) options[f.name] = f.json();
  Json all{{"program", program},
           {"version", kVersion},
           {"commit", kCommit},
           {"isa", isa_name(active_isa())},
           {"threads", num_threads()},
           {"model", args.model.model},
           {"quant", args.model.quant},
           {"dataset", args.data.name()},
           {"normalize", args.data.normalization()},
           {"augment", args.augment.crops(args.data.name())},
           {"options", options}};
  if (!args.group->alone()) all["processes"] = args.group->size();
  return all;
}

void print_head(const TrainingRun& run, Console& console) {
  const TrainArgs& args = run.args;
  console.print(fmt::format("{} {}  {}, {} threads, seed {}", run.program, kVersion,
                            isa_name(active_isa()), num_threads(), args.seed));
  console.entry("model", fmt::format("{}  {} parameters, {:.1f} M multiply-accumulates per image",
                                     args.model.model, format_count(run.summary.params),
                                     static_cast<double>(run.summary.macs) / 1e6));
  console.entry("size",
                fmt::format("{} as float32, {} stored", format_bytes(run.summary.bytes_fp32),
                            format_bytes(run.summary.bytes_quantized)));
  if (!run.quantizers.empty()) console.entry("quantized", run.quantizers);
  console.entry("train on",
                fmt::format("{}  {}{}", run.card.dataset, describe_images(run.train_images),
                            args.augment.describe(run.card.dataset, run.card.image.dim(-1))));
  console.entry("test on", fmt::format("{} images, normalized as {}", run.test_images.count(),
                                       run.card.normalize));
  if (args.data.dataset.empty() && run.card.dataset == "synthetic") {
    console.entry("", "built-in images; --dataset and --data choose others");
  }
  if (!args.calibrate_only)
    console.entry("optimizer",
                  fmt::format("{}  lr {}, {}, weight decay {}, batch {}, {} epochs", args.optimizer,
                              args.lr, args.schedule, args.wd, args.batch_size, args.epochs));
  if (args.recipe != "none") {
    console.entry("recipe", fmt::format("{}: label smoothing {:g}, averaged weights {:g}, no "
                                        "decay on batch norm and biases",
                                        args.recipe, args.label_smoothing, args.ema));
  }
  if (!args.group->alone()) {
    console.entry("processes",
                  fmt::format("{}, each with its part of a batch; batch norm over {}",
                              args.group->size(), args.sync_bn ? "the whole batch" : "the part"));
  }
  if (run.distillation) {
    console.entry("teacher", run.distillation->describe_teacher());
    console.entry("loss", run.distillation->describe_objective());
  }
  console.entry("out", run.folder.path());
}

Json summary_json(const TrainingRun& run, const nn::TrainResult& r) {
  const bool finished = r.stop == nn::TrainResult::Stop::finished;
  return {{"program", run.program},
          {"model", run.args.model.model},
          {"quant", run.args.model.quant},
          {"dataset", run.card.dataset},
          {"best_top1", r.best_top1},
          {"best_epoch", r.best_epoch},
          {"last_top1", r.last.top1()},
          {"last_top5", r.last.top5()},
          {"last_loss", r.last.loss()},
          {"epochs", r.epochs},
          {"steps", r.steps},
          {"stopped", finished ? "finished" : "steps"},
          {"params", run.summary.params},
          {"macs", run.summary.macs},
          {"bytes_fp32", run.summary.bytes_fp32},
          {"bytes_quantized", run.summary.bytes_quantized},
          {"zero_weights", prune::sparsity(run.model).zeros()},
          {"seconds", r.seconds},
          {"peak_rss_bytes", peak_rss_bytes()},
          {"out", run.folder.path()}};
}

void print_summary(const TrainingRun& run, const nn::TrainResult& r, Console& console) {
  console.print("");
  console.entry("best", fmt::format("{:.2f} % top-1 after epoch {}", r.best_top1, r.best_epoch));
  console.entry("last", fmt::format("{:.2f} % top-1, {:.2f} % top-5, loss {:.4f}", r.last.top1(),
                                    r.last.top5(), r.last.loss()));
  console.entry("size", fmt::format("{} as float32, {} stored: {:.1f} times smaller",
                                    format_bytes(run.summary.bytes_fp32),
                                    format_bytes(run.summary.bytes_quantized),
                                    static_cast<double>(run.summary.bytes_fp32) /
                                        static_cast<double>(run.summary.bytes_quantized)));
  if (run.args.sparse.makes_zeros()) {
    const prune::Sparsity found = prune::sparsity(run.model);
    console.entry("zero", fmt::format("{} of {} weights of layers", format_count(found.zeros()),
                                      format_count(found.weights())));
  }
  console.entry("time", fmt::format("{}, {} of memory at most", format_seconds(r.seconds),
                                    format_bytes(peak_rss_bytes())));
  console.entry("files",
                fmt::format("{}\n{}\n{}", run.folder.file("best.safetensors"),
                            run.folder.file("metrics.jsonl"), run.folder.file("summary.json")));
}

}  // namespace pare
