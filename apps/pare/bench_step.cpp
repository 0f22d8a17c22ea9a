// pare bench train, pare bench infer: whole steps of a model on a batch of noise.

#include <fmt/format.h>

#include <cmath>

#include "apps/memory.h"
#include "apps/model.h"
#include "apps/pare/bench.h"
#include "core/autograd.h"
#include "core/ops.h"
#include "nn/describe.h"
#include "nn/optim.h"

namespace pare {

namespace {

using bench::RunArgs, bench::Spread, bench::Subject;

enum class Mode { train, infer };

const char* name_of(Mode mode) { return mode == Mode::train ? "train" : "infer"; }

struct StepArgs {
  Mode mode = Mode::train;
  ModelArgs model;
  std::string weights;
  std::vector<std::string> precision = {};
  int64_t batch_size = 32, image_size = 0, classes = 10;
  RunArgs run;

  void fields(cli::Fields& f) {
    model.fields(f);
    f(classes, "classes", "outputs of the model", {.min = 2});
    const bool infers = mode == Mode::infer;
    f(weights, "weights",
      str("the model of this checkpoint, pruned or not", infers ? "; or a model.pare file" : ""),
      {.placeholder = "FILE"});
    f.group("Input");
    f(batch_size, "batch-size", "images per step", {.min = 1});
    f(image_size, "image-size", "height and width of the images; 0: the model's usual ones",
      {.min = 0});
    run.fields(f, /*with_precision=*/!infers);
    if (infers) f(precision, "precision", bench::kPrecisionHelp, {.placeholder = "NAME"});
  }

  /// Whether the runtime is what is measured.
  bool lowered(const cli::Given& given) {
    if (weights.ends_with(".pare")) {
      for (const char* flag : {"model", "precision", "quant", "widths", "classes", "image-size"}) {
        PARE_CHECK(!given.has(flag), weights, " says what is measured: leave out --", flag);
      }
      return true;
    }
    const bool plain = precision.size() == 1 && precision[0] == "bf16";
    if (plain) run.compute.precision = "bf16";
    return !plain && !precision.empty();
  }

  ModelCard card(const cli::Given& given) {
    if (!weights.empty()) return card_of_weights(given);
    ModelCard card{.args = model, .classes = classes, .image = usual_image(model.model)};
    card.args.quant = canonical_quant(model.quant);
    if (image_size > 0) card.image = {image_size, image_size, card.image[2]};
    return card;
  }

 private:
  ModelCard card_of_weights(const cli::Given& given) {
    auto card = ModelCard::read(safetensors::read_header(weights), weights);
    PARE_CHECK(card, weights, ": does not say which model it holds",
               hint("a checkpoint of pare train or pare prune does"));
    PARE_CHECK(!given.has("classes"), "--weights and --classes exclude each other");
    model.quant = canonical_quant(model.quant);
    adopt(model, *card, given, {}, weights);
    card->args = model;
    if (image_size > 0) card->image = {image_size, image_size, card->image[2]};
    return *card;
  }
};

/// 2 FLOP per multiply-accumulate. A training step does the work of the forward pass three times,
/// but that nobody asks for the gradient of the images.
double flops_per_image(const nn::Summary& summary, Mode mode) {
  if (mode == Mode::infer) return 2 * static_cast<double>(summary.macs);
  int64_t first = 0;
  for (const nn::LayerRow& row : summary.rows) {
    if (first == 0) first = row.macs;
  }
  return 2 * static_cast<double>(3 * summary.macs - first);
}

/// A model, a batch, and what one step does with them.
class Workload {
 public:
  Workload(const ModelCard& card, const std::string& weights, int64_t batch, Mode mode)
      : mode_(mode) {
    Rng rng(1);
    model_ = build_float(card);
    initialize(model_, card.args.model, rng);
    quantize(model_, card);
    if (!weights.empty()) load_weights(model_, safetensors::read(weights), weights);
    summary_ = nn::summarize(model_, card.image);
    nn::set_training(model_, mode == Mode::train);
    images_ = Tensor::normal({batch, card.image[0], card.image[1], card.image[2]}, rng);
    labels_ = Tensor::uninit({batch});
    for (float& label : labels_.span()) label = static_cast<float>(rng.below(card.classes));
    optimizer_ = nn::sgd(nn::param_groups(model_, 0.0f), {.lr = 1e-3f, .momentum = 0.9f});
  }

  double step() {
    return bench::seconds_of([this] { mode_ == Mode::train ? train() : infer(); });
  }

  const nn::Summary& summary() const { return summary_; }

 private:
  void train() {
    optimizer_->zero_grad();
    const Tensor loss = cross_entropy(model_(images_), labels_);
    loss.backward();
    optimizer_->step();
    check(loss.item());
  }

  void infer() {
    const NoGrad guard;
    check(model_(images_).data()[0]);  // work may be deferred until somebody looks
  }

  /// A step that is fast because it computes nonsense is worth nothing.
  static void check(float value) {
    PARE_CHECK(std::isfinite(value), "bench: a step ended in ", value, ", expected a number");
  }

  Mode mode_;
  nn::Layer model_;
  nn::Summary summary_;
  Tensor images_, labels_;
  std::unique_ptr<nn::Optimizer> optimizer_;
};

/// What the seconds of the steps come to.
struct Report {
  Report(const StepArgs& args, const Workload& work, Mode mode, const Subject& subject)
      : step(bench::spread(subject.seconds)),
        peak(bench::spread(subject.peaks)),
        flops(flops_per_image(work.summary(), mode)),
        memory(peak_rss_bytes()) {
    const auto batch = static_cast<double>(args.batch_size);
    std::vector<double> speeds;
    for (double seconds : subject.seconds) speeds.push_back(batch / seconds);
    images = bench::spread(std::move(speeds));
    fraction = subject.peak_fraction(batch * flops);
  }

  Spread step, images, peak;  // seconds per step, images/s, FLOP/s of FMAs
  double flops;               // per image
  double fraction;            // of the peak
  int64_t memory;
};

std::vector<std::string> row(const std::string& label, const Spread& s, double scale) {
  const auto cell = [scale](double value) { return fmt::format("{:.1f}", value * scale); };
  return {label, cell(s.median), cell(s.min), cell(s.max)};
}

void print_header(Console& console, const StepArgs& args, const ModelCard& card,
                  const Workload& work, Mode mode) {
  console.print(bench::headline(name_of(mode), args.run));
  console.entry("model", fmt::format("{}  {} parameters, {:.1f} M multiply-accumulates per image",
                                     card.args.model, format_count(work.summary().params),
                                     static_cast<double>(work.summary().macs) / 1e6));
  if (!card.args.quant.empty()) console.entry("quantized", card.args.quant);
  console.entry("input", fmt::format("{} images of {}x{}x{}", args.batch_size, card.image[0],
                                     card.image[1], card.image[2]));
  console.entry("steps", args.run.describe_steps());
}

void print_report(Console& console, const Report& r) {
  const double gflop = r.flops / 1e9;
  console.print("");
  console.print(align({{"", "median", "min", "max"},
                       row("images/s", r.images, 1),
                       row("ms per step", r.step, 1e3),
                       row("GFLOP/s", r.images, gflop),
                       {"% of peak", fmt::format("{:.1f}", 100 * r.fraction)}}));
  console.print("");
  console.entry("peak", bench::describe_peak(r.peak) + ", measured beside each step");
  console.entry("memory", fmt::format("{} at most", format_bytes(r.memory)));
}

Json result(const StepArgs& args, const ModelCard& card, const Workload& work, Mode mode,
            const Report& r) {
  Json json{{"bench", name_of(mode)},
            {"model", card.args.model},
            {"weights", args.weights},
            {"quant", card.args.quant},
            {"batch", args.batch_size},
            {"image", std::vector<int64_t>(card.image.begin(), card.image.end())},
            {"params", work.summary().params},
            {"flops_per_image", r.flops},
            {"images_per_second", to_json(r.images)},
            {"seconds_per_step", to_json(r.step)},
            {"peak_fraction", r.fraction},
            {"peak_rss_bytes", r.memory}};
  json.update(bench::machine_json(args.run, r.peak));
  return json;
}

int bench_steps(Mode mode, const std::string& examples, int argc, char** argv) {
  StepArgs args;
  args.mode = mode;
  const cli::Given given =
      cli::parse(args,
                 {.name = fmt::format("pare bench {}", name_of(mode)),
                  .summary = mode == Mode::train ? "Speed and memory of training steps, on noise."
                                                 : "Speed of forward passes, on noise; with "
                                                   "--precision beside that of what the network "
                                                   "is lowered to.",
                  .examples = examples},
                 argc, argv);
  if (given.leave) return 0;
  args.run.check(given);
  const bool lowered = args.lowered(given);
  args.run.compute.apply();
  if (lowered) {
    const ModelCard card = args.weights.ends_with(".pare") ? ModelCard{} : args.card(given);
    return bench::bench_lowered({card, args.weights, args.precision, args.batch_size, args.run});
  }
  Console console(args.run.console());
  const ModelCard card = args.card(given);
  Workload work(card, args.weights, args.batch_size, mode);
  print_header(console, args, card, work, mode);
  std::vector<Subject> subjects{{name_of(mode), [&work] { return work.step(); }}};
  bench::repeat(subjects, args.run, console);
  const Report report(args, work, mode, subjects.front());
  print_report(console, report);
  console.result(result(args, card, work, mode, report));
  return 0;
}

}  // namespace

int bench_train_command(int argc, char** argv) {
  return bench_steps(Mode::train,
                     "  pare bench train --model nin --batch-size 128\n"
                     "  pare bench train --model nin_gc --quant wbab:W2A2 --threads 1 --json\n",
                     argc, argv);
}

int bench_infer_command(int argc, char** argv) {
  return bench_steps(Mode::infer,
                     "  pare bench infer --model resnet18 --image-size 224 --batch-size 1\n"
                     "  pare bench infer --weights pruned.safetensors --threads 1\n"
                     "  pare bench infer --model nin --precision fp32,int8,w4,ternary,binary\n"
                     "  pare bench infer --weights model.pare --batch-size 1\n",
                     argc, argv);
}

}  // namespace pare
