#include "apps/pare/compress.h"

#include <fmt/format.h>

#include "apps/common_fields.h"
#include "apps/loaded_model.h"
#include "apps/pare/commands.h"
#include "apps/side_by_side.h"
#include "apps/train_args.h"
#include "nn/train.h"
#include "prune/shared.h"
#include "prune/sparsity.h"

namespace pare {

void CompressArgs::fields(cli::Fields& f) {
  f.group("Weights");
  cli::weights_field(f, weights);
  f(out, "out", "where the compressed checkpoint goes", {.placeholder = "FILE"});
  f(conv_bits, "conv-bits", "convolutions: 2^N different weights at most", {.min = 1, .max = 12});
  f(linear_bits, "linear-bits", "linear layers: 2^N different weights at most",
    {.min = 1, .max = 12});
  f(sparsity, "sparsity",
    "first make this share of each layer's weights zero; `pare train --sparsity` trains them so",
    {.min = 0, .max = 0.999});
  f.group("Training of the shared values");
  f(epochs, "epochs", "passes over the training set, with Adam and a cosine; 0: none", {.min = 0});
  f(lr, "lr", "learning rate", {.min = 0, .above_min = true});
  f(batch_size, "batch-size", "images per step", {.min = 1});
  f(seed, "seed", "of shuffling and augmentation", {.min = 0});
  model.fields(f);
  data.fields(f, /*training=*/true);
  f.group("Run");
  compute.fields(f);
  cli::output_fields(f, quiet, json);
}

void CompressArgs::check(const cli::Given& given) const {
  PARE_CHECK(!weights.empty(), "--weights is needed: the trained model to compress");
  PARE_CHECK(!out.empty(), "--out is needed: where the compressed checkpoint goes");
  PARE_CHECK(epochs > 0 || !given.has("lr"), "--lr is for training: add --epochs");
}

namespace {

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

/// One line for each epoch.
class FineTuneView final : public nn::Progress {
 public:
  explicit FineTuneView(Console& console) : console_(console) {}
  void on_batch(const nn::Moment& m) override {
    console_.status(fmt::format("epoch {} of {}, {} of {} batches, {} left", m.epoch, m.epochs,
                                m.batch, m.batches, format_seconds(m.seconds_left)));
  }
  void on_epoch(const nn::EpochRow& row) override {
    console_.entry("trained", fmt::format("epoch {}: loss {:.4f}, {:.2f} % top-1", row.epoch,
                                          row.train.loss(), row.test.top1()));
  }

 private:
  Console& console_;
};

/// Trains a model whose weights become shared ones. Returns what they were worth untrained.
nn::Score fine_tune(const CompressArgs& args, const LoadedModel& loaded, nn::Layer& model,
                    const prune::PackOptions& options, Console& console) {
  prune::SharedWeights shared(model, options);
  TrainArgs train;
  train.data = args.data;
  train.batch_size = args.batch_size;
  train.seed = args.seed;
  const auto images = train.train_batches(load_split(args.data, datasets::Split::train));
  const auto tests = test_batches(args.data, loaded.images);
  const nn::Score untrained = nn::evaluate(model, *tests);
  const auto optimizer = nn::adam(nn::param_groups(model, 0), {.lr = args.lr});
  FineTuneView view(console);
  nn::TrainOptions o{.epochs = args.epochs, .schedule = nn::parse_schedule("cosine", args.lr)};
  o.before_step = [&shared](double) { shared.sum_gradients(); };
  nn::Trainer(model, *optimizer, *images, *tests, std::move(o), &view).run();
  return untrained;
}

Json report_json(const prune::PackReport& report) {
  const prune::PackReport::Row all = report.total();
  return {{"weights", all.weights}, {"nonzeros", all.nonzeros}, {"dense", all.dense},
          {"sparse", all.sparse},   {"shared", all.shared},     {"packed", all.packed}};
}

}  // namespace

Json compress_model(CompressArgs& args, const cli::Given& given, Console& console) {
  args.check(given);
  args.compute.apply();
  LoadedModel loaded = load_model(args.model, args.data, given, args.weights);
  print_head("pare compress", loaded, args.weights, args.data, console);
  nn::Layer small = loaded.model;
  if (args.sparsity > 0) {
    prune::Sparsifier(small, {.target = args.sparsity, .until = 0}).update(1);
  }
  const prune::PackOptions options{.conv_bits = static_cast<int>(args.conv_bits),
                                   .linear_bits = static_cast<int>(args.linear_bits)};
  std::optional<nn::Score> untrained;
  if (args.epochs > 0) untrained = fine_tune(args, loaded, small, options, console);
  const prune::Packed packed = prune::pack(small, options);
  console.print("\n" + str(packed.report));
  save(args, loaded, packed.bytes);

  Side before{loaded.model}, after{small};
  compare(before, after, *test_batches(args.data, loaded.images), console);
  const nn::Summary was = nn::summarize(loaded.model, loaded.card.image),
                    is = nn::summarize(small, loaded.card.image);
  const double dense = packed.report.total().dense, times = dense / double(packed.bytes.size());
  console.entry("top-1",
                fmt::format("{:.2f} % before{}, {:.2f} % after", before.score.top1(),
                            untrained ? fmt::format(", {:.2f} % untrained", untrained->top1()) : "",
                            after.score.top1()));
  console.entry("size",
                fmt::format("{} as float32, {} packed: {:.1f} times smaller",
                            format_bytes(static_cast<int64_t>(dense)),
                            format_bytes(static_cast<int64_t>(packed.bytes.size())), times));
  console.entry("out", args.out);
  Json result{{"model", args.model.model},
              {"weights", args.weights},
              {"before", side_json(before, was)},
              {"after", side_json(after, is)},
              {"top1_before", before.score.top1()},
              {"top1_after", after.score.top1()},
              {"bytes", report_json(packed.report)},
              {"times_smaller", times},
              {"out", args.out}};
  if (untrained) result["top1_untrained"] = untrained->top1();
  return result;
}

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
  if (given.leave) return 0;
  Console console({.json = args.json, .quiet = args.quiet});
  console.result(compress_model(args, given, console));
  return 0;
}

}  // namespace pare
