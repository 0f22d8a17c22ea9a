#include <fmt/format.h>

#include "apps/cli.h"
#include "apps/pare/commands.h"

namespace {

using namespace pare;

struct Command {
  const char *name, *summary;
  int (*run)(int argc, char** argv);
};

constexpr Command kCommands[] = {
    {"train", "train a network, quantized or not", train_command},
    {"eval", "test a checkpoint or a weight file", eval_command},
    {"info", "what is in a model, a checkpoint, or this build", info_command},
    {"compare", "one table of several runs", compare_command},
};

void print_help() {
  fmt::print("{}\nTrain a convolutional network, then pare it down.\n\n", cli::version_line());
  for (const Command& c : kCommands) fmt::print("  pare {:<9} {}\n", c.name, c.summary);
  fmt::print("\nEvery command has --help. See also wbab and wqaq.\n");
}

int dispatch(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "--help";
  if (name == "--help" || name == "-h" || name == "help") {
    print_help();
    return argc > 1 ? 0 : 1;
  }
  if (name == "--version") {
    fmt::print("{}\n", cli::version_line());
    return 0;
  }
  std::vector<std::string> names;
  for (const Command& c : kCommands) {
    if (name == c.name) return c.run(argc - 1, argv + 1);
    names.push_back(c.name);
  }
  const std::string near = cli::nearest(name, names);
  throw Error(str("unknown command '", name, "'",
                  near.empty() ? "" : ", did you mean " + near + "?",
                  hint("pare --help lists the commands")));
}

}  // namespace

int main(int argc, char** argv) {
  return cli::run([&] { return dispatch(argc, argv); });
}
