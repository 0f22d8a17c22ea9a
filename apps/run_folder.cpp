#include "apps/run_folder.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "core/files.h"

namespace pare {

namespace fs = std::filesystem;

namespace {

constexpr const char* kFiles[] = {"config.json", "metrics.jsonl", "summary.json",
                                  "best.safetensors", "last.safetensors"};

Json to_json(const nn::EpochRow& row) {
  Json j{{"epoch", row.epoch},
         {"train_loss", row.train.loss()},
         {"train_top1", row.train.top1()},
         {"test_loss", row.test.loss()},
         {"test_top1", row.test.top1()},
         {"test_top5", row.test.top5()},
         {"lr", json_number(row.lr)},
         {"seconds", row.seconds},
         {"images_per_second", row.images_per_second},
         {"step", row.step},
         {"best", row.best}};
  if (row.partial) j["partial"] = true;
  return j;
}

/// The row's epoch, or -1 for a line that was cut off.
int64_t epoch_of(const std::string& line) {
  const Json row = Json::parse(line, nullptr, false);
  return row.is_object() ? row.value("epoch", int64_t{-1}) : -1;
}

}  // namespace

RunFolder::RunFolder(std::string path, Mode mode) : path_(std::move(path)), mode_(mode) {
  if (mode_ == Mode::absent) return;
  std::error_code error;
  const fs::file_status status = fs::status(path_, error);
  PARE_CHECK(!fs::exists(status) || fs::is_directory(status), "--out ", path_,
             " is a file, expected a folder");
  if (mode_ == Mode::resume) {
    PARE_CHECK(
        fs::exists(file("last.safetensors"), error) && fs::exists(file("config.json"), error),
        "nothing to resume in ", path_, ": no last.safetensors and config.json there",
        hint("--out names the folder of the run to continue"));
  } else if (mode_ == Mode::fresh && fs::is_directory(status)) {
    const fs::directory_iterator first(path_, error);
    PARE_CHECK(!error, "--out ", path_, ": ", error.message());
    PARE_CHECK(first == fs::directory_iterator(), "--out ", path_, " is not empty",
               hint("--resume continues the run in it, --force overwrites it"));
  }
}

void RunFolder::open(const Json& config) {
  if (mode_ == Mode::absent) return;
  std::error_code error;
  fs::create_directories(path_, error);
  PARE_CHECK(!error, "cannot create the run folder ", path_, ": ", error.message());
  for (const std::string name : kFiles) {  // a resumed run will have another summary
    if (mode_ != Mode::overwrite && name != "summary.json") continue;
    fs::remove(file(name), error);
    PARE_CHECK(!error, "cannot remove ", file(name), ": ", error.message());
  }
  write_file_atomically(file("config.json"), {config.dump(2) + "\n"});
}

void RunFolder::keep_rows(int64_t epochs) {
  const std::string path = file("metrics.jsonl");
  if (mode_ == Mode::absent || !fs::exists(path)) return;
  std::istringstream old(read_file(path));
  std::string kept, line;
  while (std::getline(old, line)) {
    const int64_t epoch = epoch_of(line);
    if (epoch > 0 && epoch <= epochs) kept += line + "\n";
  }
  write_file_atomically(path, {kept});
}

void RunFolder::add_row(const nn::EpochRow& row) {
  if (mode_ == Mode::absent) return;
  std::ofstream out(file("metrics.jsonl"), std::ios::app);
  out << to_json(row).dump() << '\n' << std::flush;
  PARE_CHECK(out, "cannot write ", file("metrics.jsonl"));
}

void RunFolder::write_summary(const Json& summary) {
  if (mode_ != Mode::absent) {
    write_file_atomically(file("summary.json"), {summary.dump(2) + "\n"});
  }
}

}  // namespace pare
