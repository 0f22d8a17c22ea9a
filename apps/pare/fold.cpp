#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "apps/console.h"
#include "apps/loaded_model.h"
#include "apps/pare/commands.h"
#include "core/autograd.h"
#include "core/kernels/isa.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "nn/describe.h"
#include "nn/metrics.h"
#include "nn/state.h"
#include "quant/fold_bn.h"

namespace pare {

namespace {

struct FoldArgs {
  ModelArgs model;
  DataArgs data;
  std::string weights, out;
  int64_t threads = 0;
  bool quiet = false, json = false;

  void fields(cli::Fields& f) {
    f.group("Weights");
    f(weights, "weights", "trained checkpoint, or weights under the names PyTorch uses",
      {.placeholder = "FILE"});
    f(out, "out", "where the folded checkpoint goes", {.placeholder = "FILE"});
    model.fields(f);
    data.fields(f, /*training=*/false);
    f.group("Run");
    f(threads, "threads", "threads; 0: one per processor", {.min = 0, .max = 1024});
    f(quiet, "quiet", "print nothing but errors and the JSON result");
    f(json, "json", "the last line on stdout is the result as JSON; all else goes to stderr");
  }
};

/// One of the two models under comparison.
struct Side {
  nn::Layer& model;
  nn::Score score = {};
  double seconds = 0;

  Tensor run(const Batch& batch) {
    const auto began = std::chrono::steady_clock::now();
    const Tensor logits = model(batch.x);
    logits.data();
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    score.add(logits, batch.y, cross_entropy(logits, batch.y).item());
    return logits;
  }
  double speed() const { return static_cast<double>(score.samples) / seconds; }
};

/// How far the outputs of both are apart.
struct Gap {
  double difference = 0, largest = 0;  // of a logit; the largest one itself
  int64_t same_class = 0;

  void add(const Tensor& before, const Tensor& after) {
    const int64_t classes = before.dim(1);
    for (int64_t i = 0; i < before.dim(0); ++i) {
      const float *a = before.data() + i * classes, *b = after.data() + i * classes;
      for (int64_t c = 0; c < classes; ++c) {
        difference = std::max(difference, std::fabs(double{a[c]} - b[c]));
        largest = std::max(largest, std::fabs(double{a[c]}));
      }
      same_class += std::max_element(a, a + classes) - a == std::max_element(b, b + classes) - b;
    }
  }
};

/// Both models on every batch, in turns and each first half of the time, so that a busy machine
/// slows both.
Gap compare(Side& before, Side& after, BatchSource& batches, Console& console) {
  const nn::EvalMode eval_before(before.model), eval_after(after.model);
  const NoGrad guard;
  Gap gap;
  batches.start(0);
  for (bool swap = false; const Batch& batch : batches) {
    if (after.score.samples == 0) {  // neither pays for the first use of memory and kernels
      for (Side* side : {&before, &after}) side->model(batch.x).data();
    }
    const Tensor first = (swap ? after : before).run(batch);
    const Tensor second = (swap ? before : after).run(batch);
    gap.add(swap ? second : first, swap ? first : second);
    swap = !swap;
    console.status(fmt::format("{} of {} images", after.score.samples, batches.samples()));
  }
  return gap;
}

int64_t norms_in(const nn::Summary& s) {
  return std::count_if(s.rows.begin(), s.rows.end(), [](const nn::LayerRow& row) {
    return row.type.rfind("BatchNorm2d", 0) == 0;
  });
}

std::string comparison(const Side& before, const Side& after, const nn::Summary& was,
                       const nn::Summary& is) {
  const auto percent = [](double value) { return fmt::format("{:.2f} %", value); };
  const auto row = [](const char* name, const std::string& first, const std::string& second) {
    return std::vector<std::string>{name, first, second};
  };
  return align({row("", "before", "after"),
                row("batch norms", format_count(norms_in(was)), format_count(norms_in(is))),
                row("parameters", format_count(was.params), format_count(is.params)),
                row("stored", format_bytes(was.bytes_quantized), format_bytes(is.bytes_quantized)),
                row("top-1", percent(before.score.top1()), percent(after.score.top1())),
                row("top-5", percent(before.score.top5()), percent(after.score.top5())),
                row("loss", fmt::format("{:.4f}", before.score.loss()),
                    fmt::format("{:.4f}", after.score.loss())),
                row("images/s", fmt::format("{:.0f}", before.speed()),
                    fmt::format("{:.0f}", after.speed()))});
}

Json side_json(const Side& s, const nn::Summary& summary) {
  return {{"top1", s.score.top1()},         {"top5", s.score.top5()},
          {"loss", s.score.loss()},         {"seconds", s.seconds},
          {"images_per_second", s.speed()}, {"batch_norms", norms_in(summary)},
          {"params", summary.params},       {"bytes_quantized", summary.bytes_quantized}};
}

Json report_json(const quant::FoldReport& report) {
  Json rows = Json::array();
  for (const quant::FoldReport::Row& r : report.rows) {
    Json row{{"norm", r.norm}, {"channels", r.channels}};
    if (r.folded()) {
      row["into"] = r.into;
      row["rule"] = r.rule == quant::FoldRule::sign ? "sign" : "scale";
      row["negated"] = r.negated;
      row["constant"] = r.constant;
    } else {
      row["stays"] = r.stayed_because;
    }
    rows.push_back(row);
  }
  return rows;
}

/// The folded model as a checkpoint that says how it differs from what its name builds.
void save(const LoadedModel& loaded, nn::Layer& folded, const FoldArgs& args) {
  ModelCard card = loaded.card;
  nn::Layer original = build_original(card);
  card.changes = nn::layer_changes(original, folded);
  card.dataset = args.data.name();
  card.normalize = args.data.normalization();
  nn::Metadata metadata = loaded.metadata;
  for (const auto& [key, value] : card.metadata()) metadata[key] = value;
  nn::save_weights(args.out, folded, metadata);
}

int fold(FoldArgs& args, const cli::Given& given) {
  PARE_CHECK(!args.weights.empty(), "--weights is needed: the trained model to fold");
  PARE_CHECK(!args.out.empty(), "--out is needed: where the folded checkpoint goes");
  set_num_threads(static_cast<int>(args.threads));
  Console console({.json = args.json, .quiet = args.quiet});
  LoadedModel loaded = load_model(args.model, args.data, given, args.weights);
  const Shape& image = loaded.card.image;

  nn::Layer folded = loaded.model;
  const quant::FoldReport report =
      quant::fold_bn(folded, Tensor::zeros({1, image[0], image[1], image[2]}));
  PARE_CHECK(report.folded() > 0, args.weights, ": no batch norm can be folded",
             hint(report.rows.empty() ? "the model has none that is active"
                                      : report.rows[0].norm + " " + report.rows[0].stayed_because));
  console.print(fmt::format("pare fold  {}, {} threads", isa_name(active_isa()), num_threads()));
  console.entry("model", fmt::format("{}  from {}", args.model.model, args.weights));
  if (!args.model.quant.empty()) console.entry("quantized", args.model.quant);
  console.entry("test on", fmt::format("{}  {}, normalized as {}", args.data.name(),
                                       describe_images(*loaded.images), args.data.normalization()));
  console.print("\n" + str(report));

  Side before{loaded.model}, after{folded};
  const Gap gap = compare(before, after, *test_batches(args.data, loaded.images), console);
  const nn::Summary was = nn::summarize(loaded.model, image), is = nn::summarize(folded, image);
  console.print(comparison(before, after, was, is));
  console.print("");
  console.entry(
      "outputs",
      fmt::format("differ by {:.2g} at most, of {:.3g}; the same class for {} of {} images",
                  gap.difference, gap.largest, gap.same_class, after.score.samples));
  save(loaded, folded, args);
  console.entry("out", args.out);
  console.result({{"model", args.model.model},
                  {"quant", args.model.quant},
                  {"weights", args.weights},
                  {"dataset", args.data.name()},
                  {"images", after.score.samples},
                  {"folded", report.folded()},
                  {"before", side_json(before, was)},
                  {"after", side_json(after, is)},
                  {"max_difference", gap.difference},
                  {"max_logit", gap.largest},
                  {"same_class", gap.same_class},
                  {"batch_norms", report_json(report)},
                  {"out", args.out}});
  return 0;
}

}  // namespace

int fold_command(int argc, char** argv) {
  FoldArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare fold",
       .summary = "Folds batch norm into the layers before it, and compares both models.",
       .examples = "  pare fold --weights runs/float/best.safetensors --out folded.safetensors\n"
                   "  pare eval --weights folded.safetensors\n"},
      argc, argv);
  return given.leave ? 0 : fold(args, given);
}

}  // namespace pare
