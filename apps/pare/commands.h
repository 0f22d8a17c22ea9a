#pragma once
// The sub-commands of pare. Each gets the command line from its own name on.

namespace pare {

int train_command(int argc, char** argv);
int eval_command(int argc, char** argv);
int info_command(int argc, char** argv);
int compare_command(int argc, char** argv);

}  // namespace pare
