#pragma once
// Progressive quantization: one training after the other, each from the best weights of the one
// before, each with its own quantizers. Float, then 8 bits, then 4, then fewer.

#include <functional>
#include <string>
#include <vector>

#include "apps/train_run.h"

namespace pare {

struct Stage {
  int64_t begin = 0, epochs = 0;  // of all
  std::string quant;              // canonical; empty: float
};
/// "0:float;40:uniform:W8A8;60:lsq:W4A4": the epoch, from 0, with which each scheme begins.
std::vector<Stage> parse_stages(const std::string& text, int64_t epochs);

/// Whether a folder holds a run in stages.
bool is_staged(const std::string& folder);

/// Runs the stages in --out/stage1, --out/stage2, ...; `run` is one training with the args as they
/// are then. Finished stages are skipped when resuming. The result is that of the last one.
RunOutcome train_stages(TrainArgs& args, const cli::Fields& fields, const std::string& program,
                        Console& console, const std::function<RunOutcome()>& run);

}  // namespace pare
