#pragma once
// `pare prune`, from its options to its result.

#include <string>

#include "apps/compute.h"
#include "apps/console.h"
#include "apps/data.h"
#include "apps/json.h"
#include "apps/model.h"
#include "prune/select.h"

namespace pare {

struct PruneArgs {
  ModelArgs model;
  DataArgs data;
  ComputeArgs compute;
  std::string weights, out, of, save_plan, plan;
  std::string method = "slimming", spread = "method", layers;
  float percent = 0.5f, macs = 1, params = 1, bytes = 1, latency = 1;
  int64_t normal_regular = 1, min_channels = 1, images = 256, blocks = 0, seed = 1,
          latency_batch = 32;
  bool methods = false, quiet = false, json = false;

  void fields(cli::Fields& f);
  /// Combinations that no single flag can check.
  void check(const cli::Given& given) const;
  /// For --latency, how long passes take is left to be said.
  prune::PlanOptions plan_options(const cli::Given& given) const;

 private:
  void plan_fields(cli::Fields& f);
};

/// Instead of --percent, what may be left of the whole network.
inline constexpr const char* kPruneTargets[] = {"macs", "params", "bytes", "latency"};

/// For a source of plans that leaves nothing to choose.
void refuse_choices(const cli::Given& given, const std::string& source, const std::string& why);

/// Prunes, compares, writes --out if there is one, and returns what `--json` prints.
Json prune_model(PruneArgs& args, const cli::Given& given, Console& console);

}  // namespace pare
