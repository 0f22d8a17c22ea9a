#include "apps/pare/recipe_run.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "apps/interrupt.h"
#include "apps/pare/recipe_folder.h"
#include "apps/train_run.h"
#include "core/files.h"

namespace pare {

namespace {

std::string plain(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// "epochs 4, lr 0.01, sr": what the file says.
std::string settings(const Recipe::Stage& stage) {
  std::string text;
  for (const cli::Fields::Field& f : stage.work->fields().all()) {
    if (!stage.given.has(f.name)) continue;
    text += (text.empty() ? "" : ", ") + f.name;
    if (!f.flag || f.json() == false) text += " " + plain(f.json());
  }
  return text;
}

class Runner {
 public:
  Runner(Recipe& recipe, const RecipeRun& run, Console& console)
      : recipe_(recipe), run_(run), console_(console), folder_(run.out) {}

  RecipeOutcome operator()() {
    prepare();
    print_stages();
    const Json plan = recipe_json(recipe_, run_.file);
    if (run_.out.empty()) {
      console_.entry("out", "nothing done; --out DIR does");
      return {0, plan};
    }
    folder_.open(recipe_, plan, run_.redo);
    for (size_t i = 0; i < recipe_.stages.size(); ++i) {
      const int code = stage(i);
      if (code != 0) return {code, {{"stopped", "interrupted"}, {"out", run_.out}}};
    }
    return {0, finish()};
  }

 private:
  const Recipe::Stage& at(int i) const { return recipe_.stages[static_cast<size_t>(i)]; }

  /// What stage `from` left, or the file to start from.
  std::string result_of(int from) const {
    if (from < 0) return from == Recipe::kStart ? recipe_.start : "";
    return folder_.stage(static_cast<size_t>(from), at(from).name) + "/" + at(from).work->file();
  }

  void prepare() {
    for (size_t i = 0; i < recipe_.stages.size(); ++i) {
      Recipe::Stage& s = recipe_.stages[i];
      StagePlace place{.weights = result_of(s.from),
                       .reference = result_of(s.of),
                       .teacher = result_of(s.teacher),
                       .folder = folder_.stage(i, s.name),
                       .again = again()};
      in_stage(i, [&] {
        PARE_CHECK(!place.weights.empty() || !s.work->needs_weights(), "there are no weights to ",
                   s.command, hint("begin with a stage that trains, or with start: FILE"));
        s.work->prepare(place, s.given);
      });
    }
  }

  /// The error of a stage says which one it is.
  template <class F>
  void in_stage(size_t i, F&& f) const {
    try {
      f();
    } catch (const Error& e) {
      const Recipe::Stage& s = recipe_.stages[i];
      throw Error(
          fmt::format("{}:{}: stage {} ({}): {}", run_.file, s.line, i + 1, s.name, e.what()));
    }
  }

  std::string again() const {
    std::string text = fmt::format("pare recipe {} --out {}", run_.file, run_.out);
    const RecipeOverrides& o = run_.overrides;
    if (!o.start.empty()) text += " --start " + o.start;
    if (!o.data.empty()) text += " --data " + o.data;
    if (!o.threads.empty()) text += " --threads " + o.threads;
    return text;
  }

  void print_stages() {
    console_.print(fmt::format("pare recipe  {}", run_.file));
    if (!recipe_.start.empty()) console_.entry("start", recipe_.start);
    std::string text;
    for (size_t i = 0; i < recipe_.stages.size(); ++i) {
      const Recipe::Stage& s = recipe_.stages[i];
      text +=
          fmt::format("{}{} {}: {} {}", i == 0 ? "" : "\n", i + 1, s.name, s.command, settings(s));
      if (s.from != static_cast<int>(i) - 1) {
        text += fmt::format(" (from {})", name_of(s.from));
      }
    }
    console_.entry("stages", text);
  }

  std::string name_of(int from) const {
    if (from >= 0) return at(from).name;
    return from == Recipe::kStart ? "start" : "none";
  }

  int stage(size_t i) {
    Recipe::Stage& s = recipe_.stages[i];
    const std::string title =
        fmt::format("stage {} of {}: {}", i + 1, recipe_.stages.size(), s.name);
    if (folder_.finished(i, s)) {
      console_.print(fmt::format("\n{}: done before", title));
      return 0;
    }
    if (interrupted()) {  // outside of a training, which says so itself
      fmt::print(stderr, "pare recipe: interrupted before {}; continue with\n  {}\n", title,
                 again());
      return kInterrupted;
    }
    console_.print(fmt::format("\n{}", title));
    StageResult result;
    const auto began = std::chrono::steady_clock::now();
    in_stage(i, [&] { result = folder_.run(i, s, console_); });
    if (result.code != 0) return result.code;
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    folder_.finish(i, s, result, result.report.value("seconds", seconds));
    return 0;
  }

  Json finish() {
    Json stages = Json::array();
    double seconds = 0;
    for (size_t i = 0; i < recipe_.stages.size(); ++i) {
      const Json r = folder_.result(i, recipe_.stages[i]);
      if (i == 0 && !r.at("before").is_null()) stages.push_back(start_row(r["before"]));
      Json row = r;
      for (const char* long_one : {"before", "report"}) row.erase(long_one);
      stages.push_back(row);
      seconds += r.at("seconds").get<double>();
    }
    const std::string last = result_of(static_cast<int>(recipe_.stages.size()) - 1);
    const std::string final =
        run_.out + "/final" + std::filesystem::path(last).extension().string();
    write_file_atomically(final, {read_file(last)});
    const Json summary{
        {"recipe", run_.file}, {"stages", stages}, {"seconds", seconds}, {"out", run_.out}};
    write_file_atomically(run_.out + "/summary.json", {summary.dump(2) + "\n"});
    print_table(stages, seconds);
    console_.entry("files", final + "\n" + run_.out + "/summary.json");
    return summary;
  }

  /// The weights to begin with, as the first stage found them.
  Json start_row(const Json& side) const {
    return {{"stage", "start"},
            {"top1", side.at("top1")},
            {"params", side.at("params")},
            {"macs", side.at("macs")},
            {"bytes", side.at("bytes_quantized")},
            {"seconds", 0.0},
            {"file", recipe_.start}};
  }

  void print_table(const Json& stages, double seconds) {
    std::vector<std::vector<std::string>> rows{
        {"stage", "top-1", "parameters", "MACs", "stored", "time"}};
    for (const Json& s : stages) {
      const auto number = [&s](const char* key) { return s.at(key).get<int64_t>(); };
      const auto millions = static_cast<double>(number("macs")) / 1e6;
      rows.push_back(
          {s.at("stage").get<std::string>(),
           s.at("top1").is_null() ? "-" : fmt::format("{:.2f} %", s.at("top1").get<double>()),
           format_count(number("params")), fmt::format("{:.2f} M", millions),
           format_bytes(number("bytes")), format_seconds(s.at("seconds").get<double>())});
    }
    rows.push_back({"all", "", "", "", "", format_seconds(seconds)});
    console_.print("\n" + align(rows) + "\n");
  }

  Recipe& recipe_;
  const RecipeRun& run_;
  Console& console_;
  RecipeFolder folder_;
};

}  // namespace

RecipeOutcome run_recipe(Recipe& recipe, const RecipeRun& run, Console& console) {
  return Runner(recipe, run, console)();
}

}  // namespace pare
