#pragma once
// The commands that a recipe can name. A new one is a class and a row in recipe_work.cpp.

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "apps/console.h"
#include "apps/json.h"

namespace pare {

/// What a stage came to.
struct StageResult {
  int code = 0;     // of the program: not 0 ends the recipe
  double top1 = 0;  // NaN, null as JSON: not tested
  int64_t params = 0, macs = 0, bytes = 0;
  Json before = {};  // what a comparison says about the weights it started from
  Json report;       // what the command itself says with --json
};

/// Where a stage works.
struct StagePlace {
  std::string weights;    // what it starts from; empty: nothing
  std::string reference;  // pruning in steps: what the first step started from; else empty
  std::string teacher;    // what another stage left for this one to learn from; else empty
  std::string folder;
  std::string again;  // the command that continues the recipe
};

/// One command with its options.
class StageWork {
 public:
  virtual ~StageWork() = default;
  StageWork() = default;
  StageWork(const StageWork&) = delete;
  StageWork& operator=(const StageWork&) = delete;

  const cli::Fields& fields() const { return fields_; }
  /// Options that are the program's matter: where files go, and how it is watched.
  bool reserved(const std::string& option) const { return reserved_.count(option) > 0; }
  virtual bool needs_weights() const { return true; }
  /// Other stages can start from what it leaves.
  virtual bool leaves_checkpoint() const { return true; }
  /// Checks what can be checked before there are any weights.
  virtual void prepare(const StagePlace& place, const cli::Given& given) = 0;
  /// The file it leaves, below the folder. Known once it is prepared.
  virtual std::string file() const = 0;
  /// Goes on with what is in the folder, if it can.
  virtual StageResult run(const cli::Given& given, Console& console) = 0;

 protected:
  cli::Fields fields_;  // bound to the arguments of the command
  std::set<std::string> reserved_{"weights", "init",  "refine", "of",      "out",  "force",
                                  "resume",  "quiet", "json",   "methods", "steps"};
};

struct StageCommand {
  const char* name;
  std::unique_ptr<StageWork> (*make)();
};
const std::vector<StageCommand>& stage_commands();

/// Options that change no result.
bool without_effect(const std::string& option);

}  // namespace pare
