#pragma once
// A training run from command line to summary: what `pare train`, wbab and wqaq do.

#include <functional>

#include "apps/train_args.h"

namespace pare {

/// Parses, trains, writes the run folder. `args` is part of what `fields` binds; `complete` derives
/// its last options (wbab: --quant from --W and --A) once all flags are known. Returns the exit
/// code: 130 if interrupted.
int train_program(TrainArgs& args, const cli::Fields& fields, const cli::Program& program, int argc,
                  char** argv, const std::function<void(cli::Given&)>& complete = {});

}  // namespace pare
