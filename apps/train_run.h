#pragma once
// A training run from command line to summary: what `pare train`, wbab and wqaq do.

#include <functional>

#include "apps/console.h"
#include "apps/json.h"
#include "apps/train_args.h"

namespace pare {

inline constexpr int kInterrupted = 130;  // 128 + SIGINT, as shells report it

/// What a run came to.
struct RunOutcome {
  int code = 0;  // of the program
  Json summary;
};

/// Derives the last options (wbab: --quant from --W and --A) once all flags are known.
using Complete = std::function<void(cli::Given&)>;

/// Trains and writes the run folder. `args` is part of what `fields` binds.
RunOutcome train(TrainArgs& args, const cli::Fields& fields, cli::Given given,
                 const std::string& program, Console& console, const Complete& complete = {});

/// The same from the command line; returns the exit code.
int train_program(TrainArgs& args, const cli::Fields& fields, const cli::Program& program, int argc,
                  char** argv, const Complete& complete = {});

/// What goes on with an interrupted run: "pare train --resume --out runs/a".
std::string resume_command(const std::string& program, const std::string& out);

}  // namespace pare
