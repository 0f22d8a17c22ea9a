#include "apps/pare/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "apps/common_fields.h"
#include "apps/loaded_model.h"
#include "apps/pare/commands.h"
#include "apps/pare/quantize_report.h"
#include "apps/side_by_side.h"
#include "core/files.h"
#include "core/kernels/isa.h"
#include "core/ops.h"
#include "quant/calibrate.h"
#include "quant/config.h"

namespace pare {

void QuantizeArgs::fields(cli::Fields& f) {
  f.group("Weights");
  f(weights, "weights", "trained float checkpoint, or weights under the names PyTorch uses",
    {.placeholder = "FILE"});
  model.fields(f, /*with_quant=*/false);
  data.fields(f, /*training=*/true);
  f.group("Quantization");
  f(config, "config", "YAML file that says how; docs/quantize.md lists its keys",
    {.placeholder = "FILE"});
  f(quant, "quant", "or a scheme, such as uniform:W8A8,keep=none; `pare info --quant-help`");
  f(fuse_bn, "fuse-bn", "fold batch norm before (in a config: SCHEDULE.FUSE_BN)");
  f(bn_tuning, "bn-tuning",
    "estimate batch norm again with quantized weights, then fold it (SCHEDULE.BN_TUNING)");
  f(sums, "sums", "quantize both operands of each sum, too (A.QADD.ENABLE_QUANT)");
  f(equalize, "equalize", "cross-layer equalization, once batch norm is folded");
  f(correct_bias, "correct-bias", "take back how quantization shifts the mean of each channel");
  f(iterations, "iterations", "of each layer with AdaRound weights", {.min = 1});
  f(calib, "calib", "training images to calibrate on", {.min = 1});
  f(calib_batch_size, "calib-batch-size", "of these images", {.min = 1});
  f(seed, "seed", "of the choice of images", {.min = 0});
  f.group("Run");
  f(plan, "plan", "only show what would get quantizers");
  f(profile, "profile", "measure the error of each layer, alone and cumulative");
  f(out, "out", "folder for quantized.safetensors and report.json", {.placeholder = "DIR"});
  f(force, "force", "overwrite what is in --out");
  compute.fields(f);
  cli::output_fields(f, quiet, json);
}

void QuantizeArgs::check(const cli::Given& given) const {
  PARE_CHECK(!weights.empty(), "--weights is needed: the float model to quantize");
  PARE_CHECK(config.empty() != quant.empty(), "either --config or --quant says how to quantize",
             hint("for example --quant uniform:W8A8,keep=none"));
  PARE_CHECK(plan || !out.empty(), "--out is needed: the folder for the result",
             hint("--plan only shows what would happen"));
  for (const char* flag : {"fuse-bn", "bn-tuning", "sums"}) {
    PARE_CHECK(config.empty() || !given.has(flag), "--", flag, " is a matter of --config ", config);
  }
  PARE_CHECK(!(fuse_bn && bn_tuning), "--fuse-bn and --bn-tuning exclude each other",
             hint("--bn-tuning folds batch norm when it is done"));
}

namespace {

quant::Config config_of(const QuantizeArgs& args) {
  if (!args.config.empty()) return quant::parse_config(nn::Yaml::load(args.config));
  quant::Config config = quant::config_of(quant::parse_scheme(args.quant));
  config.fuse_bn = args.fuse_bn;
  config.bn_tuning = args.bn_tuning;
  config.rules.sums = args.sums;
  return config;
}

/// The first images of a shuffled training set.
std::vector<Tensor> calibration_images(const QuantizeArgs& args) {
  const auto source = sample_batches(args.data, load_split(args.data, datasets::Split::train),
                                     args.calib_batch_size, args.seed);
  source->start(0);
  std::vector<Tensor> batches;
  for (int64_t left = args.calib; left > 0;) {
    const auto batch = source->next();
    if (!batch) break;
    const int64_t take = std::min(left, batch->x.dim(0));
    batches.push_back(slice(batch->x, 0, 0, take));
    left -= take;
  }
  return batches;
}

/// One quantization from the float model to the report.
class Quantization {
 public:
  Quantization(QuantizeArgs& args, const cli::Given& given, Console& console)
      : args_(args),
        console_(console),
        config_(config_of(args)),
        loaded_(load_model(args.model, args.data, given, args.weights)),
        model_(loaded_.model) {
    const std::string already = loaded_.card.quantized();
    PARE_CHECK(already.empty(), args.weights, ": is quantized already (", already, ")",
               hint("start from the float model"));
    const Shape& s = loaded_.card.image;
    example_ = Tensor::zeros({1, s[0], s[1], s[2]});
    check_order();
  }

  Json operator()() {
    print_header();
    prepare();
    if (args_.plan) return report_;
    check_out();
    const std::vector<Tensor> images = calibration_images(args_);
    calibrate(images);
    if (args_.profile) profile(images);
    test();
    save();
    return report_;
  }

 private:
  void check_order() const {
    PARE_CHECK(
        !args_.equalize || config_.fuse_bn,
        "--equalize scales what is behind a convolution, and a batch norm there would undo it",
        hint("fold it: --fuse-bn, or SCHEDULE.FUSE_BN: True"));
    PARE_CHECK(!(args_.correct_bias && config_.bn_tuning),
               "--correct-bias and batch norm tuning correct the same shift: say one of them");
  }

  void check_out() const {
    const std::string report = args_.out + "/report.json";
    PARE_CHECK(args_.force || !std::filesystem::exists(report), report, " exists already",
               hint("--force overwrites it"));
    std::error_code failed;
    std::filesystem::create_directories(args_.out, failed);
    PARE_CHECK(!failed, args_.out, ": ", failed.message());
  }

  void print_header() {
    print_head("pare quantize", loaded_, args_.weights, args_.data, console_);
    console_.entry("how", args_.config.empty() ? args_.quant : args_.config);
    report_ = {{"model", args_.model.model},     {"weights", args_.weights},
               {"dataset", args_.data.name()},   {"config", args_.config},
               {"quant", args_.quant},           {"fuse_bn", config_.fuse_bn},
               {"bn_tuning", config_.bn_tuning}, {"sums", config_.rules.sums}};
  }

  /// Up to where quantizers are in, but know no ranges.
  void prepare() {
    if (config_.fuse_bn) report_["folded"] = quant::fold_bn(model_, example_).folded();
    if (args_.equalize) {
      const quant::EqualizeReport report = quant::equalize(model_, example_);
      console_.print("\n" + str(report));
      report_["equalized"] = to_json(report);
    }
    original_ = model_;
    const quant::Prepared prepared = quant::prepare(model_, config_, example_);
    placements_ = prepared.plan.placements();
    console_.print("\n" + str(prepared.plan));
    report_["plan"] = to_json(prepared.plan);
  }

  void calibrate(const std::vector<Tensor>& images) {
    int64_t count = 0;
    for (const Tensor& x : images) count += x.dim(0);
    report_["calibration_images"] = count;
    console_.status(fmt::format("calibrating on {} images", count));
    quant::calibrate(model_, images);
    learn_rounding(images);
    if (args_.correct_bias) {
      const quant::BiasReport report = quant::correct_bias(model_, original_, images);
      console_.print(str(report));
      report_["bias_correction"] = to_json(report);
    }
    if (config_.bn_tuning) {
      const quant::BnTuningReport tuned = quant::tune_bn(model_, images);
      console_.print(str(tuned));
      report_["bn_tuning"] = to_json(tuned);
      const quant::FoldReport folded = quant::fold_bn_with_scales(model_, example_);
      if (folded.folded() < static_cast<int64_t>(folded.rows.size())) console_.print(str(folded));
      report_["folded"] = folded.folded();
    }
  }

  void learn_rounding(const std::vector<Tensor>& images) {
    const bool any = std::any_of(placements_.begin(), placements_.end(),
                                 [](const auto& p) { return p.spec.name == "adaround"; });
    if (!any) return;
    const quant::ReconstructReport report = quant::reconstruct(
        model_, original_, images,
        {.iterations = args_.iterations, .seed = static_cast<uint64_t>(args_.seed)},
        [&](const quant::ReconstructMoment& m) {
          console_.status(fmt::format("rounding of {} ({} of {}): step {} of {}, error {:.3g}",
                                      m.path, m.layer, m.layers, m.iteration, m.iterations,
                                      m.loss));
        });
    console_.print(str(report));
    report_["rounding"] = to_json(report);
  }

  void profile(const std::vector<Tensor>& images) {
    const quant::Profile result = quant::profile(model_, images);
    console_.print(str(result));
    report_["profile"] = to_json(result);
  }

  void test() {
    const Shape& image = loaded_.card.image;
    const nn::Summary was = nn::summarize(loaded_.model, image), is = nn::summarize(model_, image);
    Side before{loaded_.model}, after{model_};
    const Gap gap = compare(before, after, *test_batches(args_.data, loaded_.images), console_);
    auto rows = comparison(before, after, was, is);
    rows[0][1] = "float", rows[0][2] = "quantized";
    console_.print(align(rows));
    const double drop = before.score.top1() - after.score.top1();
    console_.entry("drop", fmt::format("{:.2f} points; the same class for {} of {} images", drop,
                                       gap.same_class, after.score.samples));
    report_["images"] = after.score.samples;
    report_["float"] = side_json(before, was);
    report_["quantized"] = side_json(after, is);
    report_["drop_top1"] = drop;
    report_["same_class"] = gap.same_class;
  }

  void save() {
    const std::string weights = args_.out + "/quantized.safetensors",
                      report = args_.out + "/report.json";
    loaded_.card.quantizers = placements_;
    save_changed(loaded_, model_, args_.data, loaded_.metadata, weights);
    report_["out"] = args_.out;
    write_file_atomically(report, {report_.dump(1) + "\n"});
    console_.entry("files", weights + "\n" + report);
  }

  QuantizeArgs& args_;
  Console& console_;
  quant::Config config_;
  LoadedModel loaded_;
  nn::Layer model_;     // loaded, then quantized
  nn::Layer original_;  // as it was when the quantizers went in
  Tensor example_;
  std::vector<quant::Placement> placements_;
  Json report_;
};

}  // namespace

Json quantize_model(QuantizeArgs& args, const cli::Given& given, Console& console) {
  args.check(given);
  args.compute.apply();
  return Quantization(args, given, console)();
}

int quantize_command(int argc, char** argv) {
  QuantizeArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare quantize",
       .summary = "Quantizes a trained network without training it, and compares both.",
       .examples =
           "  pare quantize --weights runs/float/best.safetensors --quant uniform:W8A8,keep=none "
           "\\\n      --out runs/w8a8\n"
           "  pare quantize --weights runs/float/best.safetensors --config q.yaml --plan\n"
           "  pare train --refine runs/w8a8/quantized.safetensors --epochs 10 --lr 0.01\n"},
      argc, argv);
  if (given.leave) return 0;
  Console console({.json = args.json, .quiet = args.quiet});
  console.result(quantize_model(args, given, console));
  return 0;
}

}  // namespace pare
