#pragma once
// The sub-commands of pare. Each gets the command line from its own name on.

#include <span>
#include <string>

namespace pare {

struct Command {
  const char *name, *summary;
  int (*run)(int argc, char** argv);
};

/// A program that is a table of commands.
struct Menu {
  std::string program;  // as it was called: "pare", "pare bench"
  std::string title, footer;
  std::span<const Command> commands;
};
/// Runs the command that argv[1] names, or lists them all.
int dispatch(const Menu& menu, int argc, char** argv);

int train_command(int argc, char** argv);
int distill_command(int argc, char** argv);
int data_command(int argc, char** argv);
int eval_command(int argc, char** argv);
int info_command(int argc, char** argv);
int fold_command(int argc, char** argv);
int quantize_command(int argc, char** argv);
int prune_command(int argc, char** argv);
int prune_sensitivity_command(int argc, char** argv);
int compress_command(int argc, char** argv);
int sensitivity_command(int argc, char** argv);
int allocate_command(int argc, char** argv);
int recipe_command(int argc, char** argv);
int export_command(int argc, char** argv);
int compare_command(int argc, char** argv);
int bench_command(int argc, char** argv);
int run_command(int argc, char** argv);

}  // namespace pare
