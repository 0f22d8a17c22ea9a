#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "apps/common_fields.h"
#include "apps/compute.h"
#include "apps/console.h"
#include "apps/loaded_model.h"
#include "apps/pare/commands.h"
#include "apps/pare/sensitivity_file.h"
#include "core/files.h"
#include "core/ops.h"
#include "quant/fold_bn.h"

namespace pare {

namespace {

struct SensitivityArgs {
  ModelArgs model;
  DataArgs data;
  ComputeArgs compute;
  std::string weights, quant = "uniform:W8A8,keep=none", out, csv;
  std::vector<int64_t> bits{2, 3, 4, 8};
  int64_t images = 256, probes = 8, seed = 1;
  bool quiet = false, json = false;

  void fields(cli::Fields& f) {
    f.group("Weights");
    f(weights, "weights", "float checkpoint, or weights under the names PyTorch uses",
      {.placeholder = "FILE"});
    model.fields(f, /*with_quant=*/false);
    data.fields(f, /*training=*/true);
    f.group("Measurement");
    f(quant, "quant",
      "which quantizers, for which layers; `pare info --quant-help` explains the text");
    f(bits, "bits", "to try for the weights and for the inputs of each layer",
      {.min = 1, .max = 16});
    f(images, "images", "training images to calibrate and measure on", {.min = 1});
    f(probes, "probes",
      "of the trace of the Hessian, a backward pass over all images each; 0: none", {.min = 0});
    f(seed, "seed", "of the choice of images and of the probes", {.min = 0});
    f.group("Run");
    f(out, "out", "write the result here, for pare allocate", {.placeholder = "FILE"});
    f(csv, "csv", "write it here as a table for plots", {.placeholder = "FILE"});
    compute.fields(f);
    cli::output_fields(f, quiet, json);
  }
};

std::vector<Batch> measured_images(const SensitivityArgs& args) {
  const auto source = sample_batches(args.data, load_split(args.data, datasets::Split::train),
                                     args.data.eval_batch_size, args.seed);
  source->start(0);
  std::vector<Batch> batches;
  for (int64_t left = args.images; left > 0;) {
    auto batch = source->next();
    if (!batch) break;
    const int64_t take = std::min(left, batch->x.dim(0));
    batches.push_back({slice(batch->x, 0, 0, take), slice(batch->y, 0, 0, take)});
    left -= take;
  }
  return batches;
}

/// The float model, batch norms folded where that is possible.
LoadedModel folded_model(SensitivityArgs& args, const cli::Given& given) {
  LoadedModel loaded = load_model(args.model, args.data, given, args.weights);
  PARE_CHECK(args.model.quant.empty(), args.weights, ": holds a quantized model (",
             args.model.quant, "), and sensitivity is that of a float one");
  const Shape& s = loaded.card.image;
  quant::fold_bn(loaded.model, Tensor::zeros({1, s[0], s[1], s[2]}));
  return loaded;
}

int sensitivity(SensitivityArgs& args, const cli::Given& given) {
  PARE_CHECK(!args.weights.empty(), "--weights is needed: the float model to measure");
  check_folder_of(args.out);
  check_folder_of(args.csv);
  args.compute.apply();
  const quant::Scheme scheme = quant::parse_scheme(args.quant);
  Console console({.json = args.json, .quiet = args.quiet});
  const LoadedModel loaded = folded_model(args, given);
  const std::vector<Batch> batches = measured_images(args);
  console.print(program_line("pare sensitivity"));
  console.entry("model", fmt::format("{}  from {}", args.model.model, args.weights));
  console.entry("scheme", quant::to_string(scheme));
  const auto began = std::chrono::steady_clock::now();
  const quant::SensitivityOptions options{.bits = {args.bits.begin(), args.bits.end()},
                                          .probes = args.probes,
                                          .seed = static_cast<uint64_t>(args.seed)};
  const quant::Sensitivity result = quant::sensitivity(
      loaded.model, scheme, batches, options, [&](const quant::SensitivityMoment& m) {
        console.status(fmt::format("{} of {}: {}", m.done, m.steps, m.what));
      });
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  console.entry("float", fmt::format("loss {:.4f}, top-1 {:.2f} % of {} training images",
                                     result.loss, result.top1, result.images));
  console.print("\nIncrease of the loss, one layer at a time:\n" + str(result));
  console.entry("time", format_seconds(seconds));
  Json json{{"model", args.model.model},
            {"weights", args.weights},
            {"dataset", args.data.name()},
            {"seconds", seconds}};
  json.update(to_json(result));
  if (!args.out.empty()) write_file_atomically(args.out, {json.dump(1) + "\n"});
  if (!args.csv.empty()) write_file_atomically(args.csv, {to_csv(result)});
  for (const std::string& file : {args.out, args.csv}) {
    if (!file.empty()) console.entry("out", file);
  }
  console.result(json);
  return 0;
}

}  // namespace

int sensitivity_command(int argc, char** argv) {
  const auto is_prune = [](const char* word) { return std::string(word) == "--prune"; };
  if (std::any_of(argv, argv + argc, is_prune)) return prune_sensitivity_command(argc, argv);
  SensitivityArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare sensitivity",
       .summary = "Measures what each layer of a float model loses by few bits; with --prune, by "
                  "fewer channels (--prune --help).",
       .examples = "  pare sensitivity --weights runs/float/best.safetensors --out s.json\n"
                   "  pare allocate --sensitivity s.json --mean-bits 4\n"},
      argc, argv);
  return given.leave ? 0 : sensitivity(args, given);
}

}  // namespace pare
