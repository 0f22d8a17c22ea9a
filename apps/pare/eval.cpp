#include <fmt/format.h>

#include <chrono>

#include "apps/common_fields.h"
#include "apps/loaded_model.h"
#include "apps/pare/commands.h"
#include "core/parallel.h"
#include "nn/metrics.h"

namespace pare {

namespace {

struct EvalArgs {
  ModelArgs model;
  DataArgs data;
  std::string weights;
  int64_t threads = 0;
  bool quiet = false, json = false;

  void fields(cli::Fields& f) {
    f.group("Weights");
    cli::weights_field(f, weights);
    model.fields(f);
    data.fields(f, /*training=*/false);
    f.group("Run");
    cli::threads_field(f, threads);
    cli::output_fields(f, quiet, json);
  }
};

int eval(EvalArgs& args, const cli::Given& given) {
  PARE_CHECK(!args.weights.empty(), "--weights is needed: the file to test");
  set_num_threads(static_cast<int>(args.threads));
  Console console({.json = args.json, .quiet = args.quiet});
  LoadedModel loaded = load_model(args.model, args.data, given, args.weights);

  print_head("pare eval", loaded, args.weights, args.data, console);

  const auto batches = test_batches(args.data, loaded.images);
  batches->start(0);
  const auto began = std::chrono::steady_clock::now();
  const nn::Score score = nn::evaluate(loaded.model, *batches, [&](const nn::Score& s) {
    console.status(fmt::format("{} of {} images, top-1 {:.2f} %", s.samples, loaded.images->count(),
                               s.top1()));
    return true;
  });
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();

  const double speed = static_cast<double>(score.samples) / seconds;
  console.entry(
      "result",
      fmt::format("top-1 {:.2f} %, top-5 {:.2f} %, loss {:.4f}  ({}, {:.0f} images/s)",
                  score.top1(), score.top5(), score.loss(), format_seconds(seconds), speed));
  const std::string skipped = describe_unreadable(loaded.images->unreadable());
  if (!skipped.empty()) console.entry("skipped", skipped);
  console.result({{"model", args.model.model},
                  {"weights", args.weights},
                  {"quant", loaded.card.quantized()},
                  {"dataset", args.data.name()},
                  {"images", score.samples},
                  {"skipped", loaded.images->unreadable().size()},
                  {"top1", score.top1()},
                  {"top5", score.top5()},
                  {"loss", score.loss()},
                  {"seconds", seconds},
                  {"images_per_second", speed}});
  return 0;
}

}  // namespace

int eval_command(int argc, char** argv) {
  EvalArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare eval",
       .summary = "Tests a checkpoint or a weight file.",
       .examples = "  pare eval --weights runs/float/best.safetensors\n"
                   "  pare eval --model resnet20 --shortcut A --weights resnet20.safetensors \\\n"
                   "      --normalize imagenet --dataset cifar10 --data data\n"},
      argc, argv);
  return given.leave ? 0 : eval(args, given);
}

}  // namespace pare
