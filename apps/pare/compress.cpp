#include <fmt/format.h>

#include "apps/compute.h"
#include "apps/console.h"
#include "apps/loaded_model.h"
#include "apps/pare/commands.h"
#include "apps/side_by_side.h"
#include "core/kernels/isa.h"
#include "prune/packed.h"
#include "prune/sparsity.h"

namespace pare {

namespace {

struct CompressArgs {
  ModelArgs model;
  DataArgs data;
  ComputeArgs compute;
  std::string weights, out;
  float sparsity = 0;
  int64_t conv_bits = 8, linear_bits = 5;
  bool quiet = false, json = false;

  void fields(cli::Fields& f) {
    f.group("Weights");
    f(weights, "weights", "trained checkpoint, or weights under the names PyTorch uses",
      {.placeholder = "FILE"});
    f(out, "out", "where the compressed checkpoint goes", {.placeholder = "FILE"});
    f(conv_bits, "conv-bits", "convolutions: 2^N different weights at most", {.min = 1, .max = 12});
    f(linear_bits, "linear-bits", "linear layers: 2^N different weights at most",
      {.min = 1, .max = 12});
    f(sparsity, "sparsity",
      "first make this share of each layer's weights zero; `pare train --sparsity` trains them so",
      {.min = 0, .max = 0.999});
    model.fields(f);
    data.fields(f, /*training=*/false);
    f.group("Run");
    compute.fields(f);
    f(quiet, "quiet", "print nothing but errors and the JSON result");
    f(json, "json", "the last line on stdout is the result as JSON; all else goes to stderr");
  }
};

void save(const CompressArgs& args, LoadedModel& loaded, const std::vector<uint8_t>& bytes) {
  ModelCard card = loaded.card;
  card.dataset = args.data.name();
  card.normalize = args.data.normalization();
  card.photos = args.data.photos;
  safetensors::File file;
  file.metadata = card.metadata();
  file.entries[kPackedWeights] =
      safetensors::Entry::of(bytes, {static_cast<int64_t>(bytes.size())});
  safetensors::write(args.out, file);
}

Json report_json(const prune::PackReport& report) {
  const prune::PackReport::Row all = report.total();
  return {{"weights", all.weights}, {"nonzeros", all.nonzeros}, {"dense", all.dense},
          {"sparse", all.sparse},   {"shared", all.shared},     {"packed", all.packed}};
}

int compress(CompressArgs& args, const cli::Given& given) {
  PARE_CHECK(!args.weights.empty(), "--weights is needed: the trained model to compress");
  PARE_CHECK(!args.out.empty(), "--out is needed: where the compressed checkpoint goes");
  args.compute.apply();
  Console console({.json = args.json, .quiet = args.quiet});
  LoadedModel loaded = load_model(args.model, args.data, given, args.weights);
  console.print(
      fmt::format("pare compress  {}, {} threads", isa_name(active_isa()), num_threads()));
  console.entry("model", fmt::format("{}  from {}", args.model.model, args.weights));
  nn::Layer small = loaded.model;
  if (args.sparsity > 0) {
    prune::Sparsifier(small, {.target = args.sparsity, .until = 0}).update(1);
  }
  const prune::Packed packed =
      prune::pack(small, {.conv_bits = static_cast<int>(args.conv_bits),
                          .linear_bits = static_cast<int>(args.linear_bits)});
  console.print("\n" + str(packed.report));
  save(args, loaded, packed.bytes);

  Side before{loaded.model}, after{small};
  compare(before, after, *test_batches(args.data, loaded.images), console);
  const double dense = packed.report.total().dense, times = dense / double(packed.bytes.size());
  console.entry("top-1", fmt::format("{:.2f} % before, {:.2f} % after", before.score.top1(),
                                     after.score.top1()));
  console.entry("size",
                fmt::format("{} as float32, {} packed: {:.1f} times smaller",
                            format_bytes(static_cast<int64_t>(dense)),
                            format_bytes(static_cast<int64_t>(packed.bytes.size())), times));
  console.entry("out", args.out);
  console.result({{"model", args.model.model},
                  {"weights", args.weights},
                  {"top1_before", before.score.top1()},
                  {"top1_after", after.score.top1()},
                  {"bytes", report_json(packed.report)},
                  {"times_smaller", times},
                  {"out", args.out}});
  return 0;
}

}  // namespace

int compress_command(int argc, char** argv) {
  CompressArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare compress",
       .summary = "Packs a network into a small file: shared weights, gaps, Huffman's code.",
       .examples =
           "  pare train --init runs/float/best.safetensors --sparsity 0.9 --out runs/sparse\n"
           "  pare compress --weights runs/sparse/last.safetensors --out small.safetensors\n"
           "  pare eval --weights small.safetensors\n"},
      argc, argv);
  return given.leave ? 0 : compress(args, given);
}

}  // namespace pare
