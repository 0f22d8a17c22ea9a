#include <fmt/format.h>

#include <filesystem>

#include "apps/cli.h"
#include "apps/common_fields.h"
#include "apps/console.h"
#include "apps/json.h"
#include "apps/pare/commands.h"

namespace pare {

namespace {

struct CompareArgs {
  bool quiet = false, json = false;

  void fields(cli::Fields& f) {
    f.group("Output");
    cli::output_fields(f, quiet, json);
  }
};

Json read_run(const std::string& folder) {
  namespace fs = std::filesystem;
  PARE_CHECK(fs::is_directory(folder), folder, " is no run folder");
  PARE_CHECK(fs::exists(folder + "/summary.json"), folder,
             " holds no finished run: no summary.json");
  Json run = read_json_file(folder + "/summary.json");
  for (const char* key :
       {"best_top1", "last_top1", "params", "bytes_fp32", "bytes_quantized", "seconds"}) {
    PARE_CHECK(run.contains(key) && run[key].is_number(), folder, "/summary.json: no number '", key,
               "'");
  }
  run["out"] = folder;
  return run;
}

std::vector<std::string> row_of(const Json& run) {
  const std::string quant = run.value("quant", "");
  return {run.value("out", ""),
          run.value("model", ""),
          quant.empty() ? "float" : quant,
          fmt::format("{:.2f}", run["best_top1"].get<double>()),
          fmt::format("{:.2f}", run["last_top1"].get<double>()),
          fmt::format("{}", run.value("epochs", int64_t{0})),
          format_count(run["params"].get<int64_t>()),
          format_bytes(run["bytes_fp32"].get<int64_t>()),
          format_bytes(run["bytes_quantized"].get<int64_t>()),
          format_seconds(run["seconds"].get<double>())};
}

int compare(const CompareArgs& args, const std::vector<std::string>& folders) {
  PARE_CHECK(!folders.empty(), "no run folder is given");
  Console console({.json = args.json, .quiet = args.quiet});
  std::vector<std::vector<std::string>> rows{{"run", "model", "quantized", "best %", "last %",
                                              "epochs", "parameters", "float32", "stored", "time"}};
  Json runs = Json::array();
  for (const std::string& folder : folders) {
    runs.push_back(read_run(folder));
    rows.push_back(row_of(runs.back()));
  }
  console.print(align(rows));
  console.result({{"runs", runs}});
  return 0;
}

}  // namespace

int compare_command(int argc, char** argv) {
  CompareArgs args;
  const cli::Given given = cli::parse(args,
                                      {.name = "pare compare",
                                       .summary = "One table of several run folders.",
                                       .rest = "RUN...",
                                       .examples = "  pare compare runs/float runs/w2a2\n"},
                                      argc, argv);
  return given.leave ? 0 : compare(args, given.rest);
}

}  // namespace pare
