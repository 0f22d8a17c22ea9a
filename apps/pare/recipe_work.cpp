#include "apps/pare/recipe_work.h"

#include <filesystem>
#include <set>

#include "apps/pare/compress.h"
#include "apps/pare/fold.h"
#include "apps/pare/prune.h"
#include "apps/train_run.h"
#include "apps/train_stages.h"

namespace pare {

namespace {

namespace fs = std::filesystem;

/// The columns of the final table, from one side of a comparison.
StageResult after(Json report) {
  const Json& side = report.at("after");
  return {.top1 = side.at("top1").get<double>(),
          .params = side.at("params").get<int64_t>(),
          .macs = side.at("macs").get<int64_t>(),
          .bytes = side.at("bytes_quantized").get<int64_t>(),
          .report = report};
}

class Train final : public StageWork {
 public:
  Train() { args_.fields(fields_); }

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
    RunOutcome outcome = train(args_, fields_, given, "pare train", console);
    if (outcome.code != 0) return {.code = outcome.code, .report = {}};
    const Json& s = outcome.summary;
    return {.top1 = s.at(ends() ? "last_top1" : "best_top1").get<double>(),
            .params = s.at("params").get<int64_t>(),
            .macs = s.at("macs").get<int64_t>(),
            .bytes = s.at("bytes_quantized").get<int64_t>(),
            .report = s};
  }

 private:
  bool ends() const { return args_.sparse.makes_zeros() || !args_.model.gates.empty(); }

  TrainArgs args_;
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
    return after(prune_model(args_, given, console));
  }

 private:
  PruneArgs args_;
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
    return after(fold_model(args_, given, console));
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
    StageResult r = after(compress_model(args_, given, console));
    r.bytes = r.report.at("bytes").at("packed").get<int64_t>();
    return r;
  }

 private:
  CompressArgs args_;
};

template <class Work>
std::unique_ptr<StageWork> make() {
  return std::make_unique<Work>();
}

}  // namespace

const std::vector<StageCommand>& stage_commands() {
  static const std::vector<StageCommand> commands{{"train", make<Train>},
                                                  {"prune", make<Prune>},
                                                  {"fold", make<Fold>},
                                                  {"compress", make<Compress>}};
  return commands;
}

bool set_by_recipe(const std::string& option) {
  static const std::set<std::string> options{"weights", "init",    "refine", "of",
                                             "out",     "force",   "resume", "quiet",
                                             "json",    "methods", "steps"};
  return options.count(option) > 0;
}

bool without_effect(const std::string& option) {
  return resume_exceptions().may_differ.count(option) > 0 && option != "epochs";
}

}  // namespace pare
