#include "apps/pare/recipe_work.h"

#include <cmath>
#include <filesystem>

#include "apps/pare/compress.h"
#include "apps/pare/export.h"
#include "apps/pare/fold.h"
#include "apps/pare/prune.h"
#include "apps/pare/quantize.h"
#include "apps/train_run.h"
#include "apps/train_stages.h"

namespace pare {

namespace {

namespace fs = std::filesystem;

/// The columns of the final table, from a comparison.
StageResult compared(const Json& report, const char* before = "before",
                     const char* after = "after") {
  const Json& side = report.at(after);
  return {.top1 = side.at("top1").get<double>(),
          .params = side.at("params").get<int64_t>(),
          .macs = side.at("macs").get<int64_t>(),
          .bytes = side.at("bytes_quantized").get<int64_t>(),
          .before = report.at(before),
          .report = report};
}

class Train : public StageWork {
 public:
  Train() : Train("pare train") { args_.fields(fields_); }

  bool needs_weights() const override { return false; }
  void prepare(const StagePlace& place, const cli::Given& given) override {
    args_.out = place.folder;
    args_.again = place.again;
    // New quantizers and gates go into plain weights; else the network is trained on as it is.
    const bool changes =
        !args_.model.quant.empty() || !args_.quant_schedule.empty() || !args_.model.gates.empty();
    (changes ? args_.init : args_.refine) = place.weights;
    args_.check(given);
  }
  /// Gates close and zeros appear in the course of the run: only its end has them all.
  std::string file() const override { return ends() ? "last.safetensors" : "best.safetensors"; }

  StageResult run(const cli::Given& given, Console& console) override {
    args_.resume = fs::exists(args_.out + "/last.safetensors") || is_staged(args_.out);
    args_.force = !args_.resume;  // what was left before the first save is worth nothing
    RunOutcome outcome = train(args_, fields_, given, program_, console);
    if (outcome.code != 0) return {.code = outcome.code, .report = {}};
    const Json& s = outcome.summary;
    return {.top1 = s.at(ends() ? "last_top1" : "best_top1").get<double>(),
            .params = s.at("params").get<int64_t>(),
            .macs = s.at("macs").get<int64_t>(),
            .bytes = s.at("bytes_quantized").get<int64_t>(),
            .report = s};
  }

 protected:
  explicit Train(std::string program) : program_(std::move(program)) {}

  TrainArgs args_;

 private:
  bool ends() const { return args_.sparse.makes_zeros() || !args_.model.gates.empty(); }

  std::string program_;
};

class Distill final : public Train {
 public:
  Distill() : Train("pare distill") {
    args_.distill.fields(fields_);
    args_.fields(fields_);
  }

  void prepare(const StagePlace& place, const cli::Given& given) override {
    const DistillArgs& d = args_.distill;
    PARE_CHECK(d.active(), "teacher is missing",
               hint("the name of a stage, a file, ema or none: pare distill --help"));
    teacher_ = place.teacher;
    PARE_CHECK(!teacher_.empty() || !d.from_file() || fs::exists(d.teacher),
               "no stage before it and no file is called ", d.teacher);
    Train::prepare(place, given);
  }
  StageResult run(const cli::Given& given, Console& console) override {
    // Not before: the recipe is stored with the name of the stage, wherever its folder is.
    if (!teacher_.empty()) args_.distill.teacher = teacher_;
    return Train::run(given, console);
  }

 private:
  std::string teacher_;
};

class Prune final : public StageWork {
 public:
  Prune() { args_.fields(fields_); }

  void prepare(const StagePlace& place, const cli::Given& given) override {
    args_.weights = place.weights;
    args_.of = place.reference;
    args_.out = place.folder + "/" + file();
    args_.check(given);
  }
  std::string file() const override { return "pruned.safetensors"; }
  StageResult run(const cli::Given& given, Console& console) override {
    return compared(prune_model(args_, given, console));
  }

 private:
  PruneArgs args_;
};

class Quantize final : public StageWork {
 public:
  Quantize() {
    args_.fields(fields_);
    args_.force = true;  // what is there belongs to a stage that did not end
    reserved_.insert("plan");
  }

  void prepare(const StagePlace& place, const cli::Given& given) override {
    args_.weights = place.weights;
    args_.out = place.folder;
    args_.check(given);
  }
  std::string file() const override { return "quantized.safetensors"; }
  StageResult run(const cli::Given& given, Console& console) override {
    return compared(quantize_model(args_, given, console), "float", "quantized");
  }

 private:
  QuantizeArgs args_;
};

class Fold final : public StageWork {
 public:
  Fold() { args_.fields(fields_); }

  void prepare(const StagePlace& place, const cli::Given&) override {
    args_.weights = place.weights;
    args_.out = place.folder + "/" + file();
  }
  std::string file() const override { return "folded.safetensors"; }
  StageResult run(const cli::Given& given, Console& console) override {
    return compared(fold_model(args_, given, console));
  }

 private:
  FoldArgs args_;
};

class Compress final : public StageWork {
 public:
  Compress() { args_.fields(fields_); }

  void prepare(const StagePlace& place, const cli::Given& given) override {
    args_.weights = place.weights;
    args_.out = place.folder + "/" + file();
    args_.check(given);
  }
  std::string file() const override { return "compressed.safetensors"; }
  StageResult run(const cli::Given& given, Console& console) override {
    StageResult r = compared(compress_model(args_, given, console));
    r.bytes = r.report.at("bytes").at("packed").get<int64_t>();
    return r;
  }

 private:
  CompressArgs args_;
};

/// The file is tested itself: the table has its accuracy and its bytes.
class Export final : public StageWork {
 public:
  Export() {
    args_.fields(fields_);
    args_.test = true;
    reserved_.insert("test");
  }

  bool leaves_checkpoint() const override { return false; }
  void prepare(const StagePlace& place, const cli::Given& given) override {
    args_.weights = place.weights;
    args_.out = place.folder + "/" + file();
    args_.check(given);
  }
  std::string file() const override { return "model." + args_.ending(); }
  StageResult run(const cli::Given& given, Console& console) override {
    const Json report = export_model(args_, given, console);
    StageResult r{.top1 = std::nan(""), .report = report};
    if (report.contains("after")) r = compared(report);
    r.params = report.at("params").get<int64_t>(), r.macs = report.at("macs").get<int64_t>();
    r.bytes = report.at("bytes").get<int64_t>();
    return r;
  }

 private:
  ExportArgs args_;
};

template <class Work>
std::unique_ptr<StageWork> make() {
  return std::make_unique<Work>();
}

}  // namespace

const std::vector<StageCommand>& stage_commands() {
  static const std::vector<StageCommand> commands{
      {"train", make<Train>},  {"distill", make<Distill>},   {"prune", make<Prune>},
      {"fold", make<Fold>},    {"quantize", make<Quantize>}, {"compress", make<Compress>},
      {"export", make<Export>}};
  return commands;
}

bool without_effect(const std::string& option) {
  return resume_exceptions().may_differ.count(option) > 0 && option != "epochs";
}

}  // namespace pare
