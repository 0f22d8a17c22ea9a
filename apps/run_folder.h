#pragma once
// The folder of one training run:
//   config.json         every option, version, commit, ISA, threads
//   metrics.jsonl       one object per epoch
//   best.safetensors    weights with the best test accuracy
//   last.safetensors    weights and everything a resume needs
//   summary.json        what the run came to

#include <string>

#include "apps/json.h"
#include "nn/train.h"

namespace pare {

class RunFolder {
 public:
  enum class Mode {
    fresh,
    overwrite,
    resume,
    absent  // another process has it: nothing is looked at or written
  };

  /// Refuses a folder that is in use (fresh), that holds nothing to resume (resume), or that could
  /// not be created; nothing is written yet.
  RunFolder(std::string path, Mode mode);

  /// Creates the folder, removes the files of an overwritten run, writes config.json.
  void open(const Json& config);
  /// Resume: forgets epochs after the first `epochs`.
  void keep_rows(int64_t epochs);
  void add_row(const nn::EpochRow& row);
  void write_summary(const Json& summary);

  Json config() const { return read_json_file(file("config.json")); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  Mode mode() const { return mode_; }

 private:
  std::string path_;
  Mode mode_;
};

}  // namespace pare
