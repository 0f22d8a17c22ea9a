#include <fmt/format.h>

#include <chrono>

#include "apps/common_fields.h"
#include "apps/compute.h"
#include "apps/console.h"
#include "apps/loaded_model.h"
#include "apps/pare/commands.h"
#include "core/files.h"
#include "prune/sensitivity.h"

namespace pare {

namespace {

struct SensitivityArgs {
  ModelArgs model;
  DataArgs data;
  ComputeArgs compute;
  std::string weights, method = "l1", csv;
  std::vector<int64_t> percents{10, 25, 50, 75};
  int64_t images = 256, seed = 1;
  bool prune = true, quiet = false, json = false;

  void fields(cli::Fields& f) {
    f.group("Weights");
    cli::weights_field(f, weights);
    model.fields(f);
    data.fields(f, /*training=*/true);
    f.group("Measurement");
    f(prune, "prune", "channels, not bits: without it the command measures few bits");
    f(method, "method", "whose lowest scores go; `pare prune --methods` explains them",
      {.one_of = prune::criterion_names(), .placeholder = "NAME"});
    f(percents, "percents", "of a layer's channels to remove, one after the other",
      {.min = 1, .max = 99});
    f(images, "images", "training images to measure on, and for the method to look at", {.min = 1});
    f(seed, "seed", "of the choice of images, and of the method random", {.min = 0});
    f.group("Run");
    f(csv, "csv", "write the result here as a table for plots", {.placeholder = "FILE"});
    compute.fields(f);
    cli::output_fields(f, quiet, json);
  }
};

Json to_json(const prune::Sensitivity& s) {
  Json layers = Json::array();
  for (const prune::Sensitivity::Layer& l : s.layers) {
    Json points = Json::array();
    for (const prune::Sensitivity::Point& p : l.points) {
      points.push_back({{"share", p.share}, {"kept", p.kept}, {"loss", p.loss}, {"top1", p.top1}});
    }
    layers.push_back({{"layer", l.name}, {"channels", l.channels}, {"points", points}});
  }
  return {{"method", s.method},
          {"images", s.images},
          {"loss", s.loss},
          {"top1", s.top1},
          {"layers", layers}};
}

prune::Sensitivity measure(const SensitivityArgs& args, LoadedModel& loaded, Console& console) {
  constexpr int64_t kBatch = 32;  // all activations of a batch may be in memory at once
  const auto images =
      sample_batches(args.data, load_split(args.data, datasets::Split::train), kBatch, args.seed);
  const Shape& image = loaded.card.image;
  const prune::Structure structure(loaded.model, Tensor::zeros({1, image[0], image[1], image[2]}));
  Rng rng(static_cast<uint64_t>(args.seed));
  prune::SensitivityOptions options{.shares = {}};
  for (int64_t p : args.percents) options.shares.push_back(static_cast<double>(p) / 100);
  options.progress = [&](int64_t done, int64_t steps, const std::string& layer) {
    console.status(fmt::format("{} of {}: {}", done, steps, layer));
  };
  return prune::sensitivity(prune::find_criterion(args.method),
                            {loaded.model, structure, rng, images.get(), args.images}, options);
}

int sensitivity(SensitivityArgs& args, const cli::Given& given) {
  PARE_CHECK(!args.weights.empty(), "--weights is needed: the trained model to measure");
  args.compute.apply();
  Console console({.json = args.json, .quiet = args.quiet});
  LoadedModel loaded = load_model(args.model, args.data, given, args.weights);
  console.print(program_line("pare sensitivity --prune"));
  console.entry("model", fmt::format("{}  from {}", args.model.model, args.weights));
  const auto began = std::chrono::steady_clock::now();
  const prune::Sensitivity result = measure(args, loaded, console);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  console.entry("whole", fmt::format("loss {:.4f}, top-1 {:.2f} % of {} training images",
                                     result.loss, result.top1, result.images));
  console.print(fmt::format("\nIncrease of the loss, one layer at a time, by {}:\n{}",
                            result.method, str(result)));
  console.entry("time", format_seconds(seconds));
  if (!args.csv.empty()) {
    write_file_atomically(args.csv, {prune::to_csv(result)});
    console.entry("out", args.csv);
  }
  Json json{{"model", args.model.model}, {"weights", args.weights}, {"seconds", seconds}};
  json.update(to_json(result));
  console.result(json);
  return 0;
}

}  // namespace

int prune_sensitivity_command(int argc, char** argv) {
  SensitivityArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare sensitivity --prune",
       .summary = "Measures what each layer of a model loses by fewer channels.",
       .examples = "  pare sensitivity --prune --weights runs/float/best.safetensors --csv s.csv\n"
                   "  pare prune --weights runs/float/best.safetensors --method l1 \\\n"
                   "      --layers 'layer3.*:0.6' --percent 0.2\n"},
      argc, argv);
  return given.leave ? 0 : sensitivity(args, given);
}

}  // namespace pare
