#include "apps/train_stages.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <sstream>

#include "apps/train_report.h"
#include "core/files.h"

namespace pare {

namespace fs = std::filesystem;

namespace {

constexpr const char* kUsage = "such as \"0:float;40:uniform:W8A8;60:lsq:W4A4\"";

std::string stage_folder(const std::string& out, size_t index) {
  return fmt::format("{}/stage{}", out, index + 1);
}

Stage parse_stage(const std::string& text) {
  const size_t colon = text.find(':');
  Stage stage;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), stage.begin);
  const bool number = colon != std::string::npos && error == std::errc{} &&
                      end == text.data() + colon && stage.begin >= 0;
  PARE_CHECK(number, "--quant-schedule: expected EPOCH:SCHEME, got '", text, "'", hint(kUsage));
  stage.quant = canonical_quant(text.substr(colon + 1));
  return stage;
}

/// Done, as far as its files say.
bool finished(const std::string& folder) {
  const std::string summary = folder + "/summary.json";
  return fs::exists(summary) && read_json_file(summary).value("stopped", "") == "finished";
}

/// The folder of the whole run, empty but for its config.
void open_folder(const TrainArgs& args, const cli::Fields& fields, const std::string& program) {
  using Mode = RunFolder::Mode;
  RunFolder folder(args.out, args.force ? Mode::overwrite : Mode::fresh);
  for (size_t i = 0; args.force && fs::exists(stage_folder(args.out, i)); ++i) {
    std::error_code failed;
    fs::remove_all(stage_folder(args.out, i), failed);
    PARE_CHECK(!failed, "cannot remove ", stage_folder(args.out, i), ": ", failed.message());
  }
  Json config = config_json(args, fields, program);
  config["quant"] = args.quant_schedule;
  folder.open(config);
}

/// What all stages came to: the last one's result, and a line for each.
Json summary_of(const TrainArgs& args, const std::vector<Stage>& stages) {
  Json all = Json::array(), last;
  double seconds = 0;
  int64_t steps = 0;
  for (size_t i = 0; i < stages.size(); ++i) {
    last = read_json_file(stage_folder(args.out, i) + "/summary.json");
    seconds += last.at("seconds").get<double>();
    steps += last.at("steps").get<int64_t>();
    all.push_back({{"quant", stages[i].quant},
                   {"epochs", stages[i].epochs},
                   {"best_top1", last.at("best_top1")},
                   {"last_top1", last.at("last_top1")},
                   {"out", last.at("out")}});
  }
  last["epochs"] = args.epochs, last["steps"] = steps, last["seconds"] = seconds;
  last["out"] = args.out;
  last["stages"] = all;
  return last;
}

void print(const TrainArgs& args, const Json& summary, Console& console) {
  const std::vector<std::string> titles = {"stage", "epochs", "best top-1", "last top-1",
                                           "quantizers"};
  std::vector<std::vector<std::string>> rows{titles};
  for (const Json& s : summary.at("stages")) {
    const std::string quant = s.at("quant").get<std::string>();
    rows.push_back({std::to_string(rows.size()), std::to_string(s.at("epochs").get<int64_t>()),
                    fmt::format("{:.2f} %", s.at("best_top1").get<double>()),
                    fmt::format("{:.2f} %", s.at("last_top1").get<double>()),
                    quant.empty() ? "float" : quant});
  }
  console.print("\n" + align(rows));
  console.entry("files", args.out + "/best.safetensors\n" + args.out + "/summary.json");
}

}  // namespace

std::vector<Stage> parse_stages(const std::string& text, int64_t epochs) {
  std::vector<Stage> stages;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ';');) stages.push_back(parse_stage(part));
  PARE_CHECK(!stages.empty() && stages[0].begin == 0,
             "--quant-schedule: the first scheme begins with epoch 0, got '", text, "'",
             hint(kUsage));
  for (size_t i = 0; i < stages.size(); ++i) {
    const int64_t end = i + 1 < stages.size() ? stages[i + 1].begin : epochs;
    stages[i].epochs = end - stages[i].begin;
    PARE_CHECK(stages[i].epochs > 0, "--quant-schedule: '", text, "' leaves no epoch from ",
               stages[i].begin, " to ", end,
               hint(str("--epochs says how many there are in all: ", epochs)));
  }
  return stages;
}

bool is_staged(const std::string& folder) {
  const std::string config = folder + "/config.json";
  if (!fs::exists(config)) return false;
  const Json json = read_json_file(config);
  return json.contains("options") && !json["options"].value("quant-schedule", "").empty();
}

RunOutcome train_stages(TrainArgs& args, const cli::Fields& fields, const std::string& program,
                        Console& console, const std::function<RunOutcome()>& run) {
  const std::vector<Stage> stages = parse_stages(args.quant_schedule, args.epochs);
  const bool first = args.group->first();
  if (!args.resume && first) open_folder(args, fields, program);
  const TrainArgs whole = args;
  for (size_t i = 0; i < stages.size(); ++i) {
    const std::string folder = stage_folder(whole.out, i);
    if (whole.resume && finished(folder)) continue;
    args = whole;
    args.quant_schedule.clear();  // a stage is a run like any other
    if (args.again.empty()) args.again = resume_command(program, whole.out);
    args.out = folder;
    args.model.quant = stages[i].quant;
    args.epochs = stages[i].epochs;
    args.resume = whole.resume && fs::exists(folder + "/last.safetensors");
    args.force = !args.resume;  // what a stage left before its first save is worth nothing
    if (i > 0) args.init = stage_folder(whole.out, i - 1) + "/best.safetensors";
    RunOutcome outcome = run();
    if (outcome.code != 0) return outcome;
  }
  args = whole;
  if (!first) return {};
  const Json summary = summary_of(args, stages);
  const std::string last = stage_folder(args.out, stages.size() - 1) + "/best.safetensors";
  write_file_atomically(args.out + "/best.safetensors", {read_file(last)});
  write_file_atomically(args.out + "/summary.json", {summary.dump(2) + "\n"});
  print(args, summary, console);
  return {0, summary};
}

}  // namespace pare
