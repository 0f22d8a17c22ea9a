#include <fmt/format.h>

#include <chrono>

#include "apps/console.h"
#include "apps/data.h"
#include "apps/model.h"
#include "apps/pare/commands.h"
#include "core/kernels/isa.h"
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
    f(weights, "weights", "checkpoint, or weights under the names PyTorch uses",
      {.placeholder = "FILE"});
    model.fields(f);
    data.fields(f, /*training=*/false);
    f.group("Run");
    f(threads, "threads", "threads; 0: one per processor", {.min = 0, .max = 1024});
    f(quiet, "quiet", "print nothing but errors and the JSON result");
    f(json, "json", "the last line on stdout is the result as JSON; all else goes to stderr");
  }
};

/// A checkpoint says what it holds and what it was trained on; for other files the flags must.
ModelCard card_of(EvalArgs& args, const cli::Given& given, const safetensors::File& file) {
  const auto card = ModelCard::read(file, args.weights);
  if (!card) {
    PARE_CHECK(given.has("model"), args.weights, ": does not say which model it holds",
               hint("add --model (and --quant, --widths, ... if they apply)"));
    return {.args = args.model};
  }
  adopt(args.model, *card, given, {"bn-momentum", "dropout"}, args.weights);
  args.data.adopt(card->dataset, card->normalize, given);
  return *card;
}

int eval(EvalArgs& args, const cli::Given& given) {
  PARE_CHECK(!args.weights.empty(), "--weights is needed: the file to test");
  set_num_threads(static_cast<int>(args.threads));
  args.model.quant = canonical_quant(args.model.quant);
  Console console({.json = args.json, .quiet = args.quiet});

  const safetensors::File file = safetensors::read(args.weights);
  ModelCard card = card_of(args, given, file);
  const bool ours = !card.dataset.empty();
  const auto images = load_split(args.data, datasets::Split::test);
  PARE_CHECK(
      !ours || (card.classes == images->classes() && card.image.dim(-1) == images->image.dim(-1)),
      args.weights, ": was made for ", card.classes, " classes and ", card.image.dim(-1),
      " channels, ", args.data.name(), " has ", images->classes(), " and ", images->image.dim(-1));
  card.args = args.model;
  card.classes = images->classes();
  card.image = images->image;
  nn::Layer model = build_float(card);
  quantize(model, card);
  load_weights(model, file, args.weights);

  console.print(fmt::format("pare eval  {}, {} threads", isa_name(active_isa()), num_threads()));
  console.entry("model", fmt::format("{}  from {}", args.model.model, args.weights));
  if (!args.model.quant.empty()) console.entry("quantized", args.model.quant);
  console.entry("test on", fmt::format("{}  {}, normalized as {}", args.data.name(),
                                       describe_images(*images), args.data.normalization()));

  const auto batches = test_batches(args.data, images);
  batches->start(0);
  const auto began = std::chrono::steady_clock::now();
  const nn::Score score = nn::evaluate(model, *batches, [&](const nn::Score& s) {
    console.status(
        fmt::format("{} of {} images, top-1 {:.2f} %", s.samples, images->count(), s.top1()));
    return true;
  });
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();

  const double speed = static_cast<double>(score.samples) / seconds;
  console.entry(
      "result",
      fmt::format("top-1 {:.2f} %, top-5 {:.2f} %, loss {:.4f}  ({}, {:.0f} images/s)",
                  score.top1(), score.top5(), score.loss(), format_seconds(seconds), speed));
  console.result({{"model", args.model.model},
                  {"weights", args.weights},
                  {"quant", args.model.quant},
                  {"dataset", args.data.name()},
                  {"images", score.samples},
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
