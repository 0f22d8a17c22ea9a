#include "apps/pare/commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "apps/cli.h"

namespace pare {

namespace {

void print_help(const Menu& menu) {
  size_t width = 0;
  for (const Command& c : menu.commands) width = std::max(width, std::string(c.name).size());
  fmt::print("{}\n\n", menu.title);
  for (const Command& c : menu.commands) {
    fmt::print("  {} {:<{}}  {}\n", menu.program, c.name, width, c.summary);
  }
  fmt::print("\n{}\n", menu.footer);
}

}  // namespace

int dispatch(const Menu& menu, int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "--help";
  if (name == "--help" || name == "-h" || name == "help") {
    print_help(menu);
    return argc > 1 ? 0 : 1;
  }
  if (name == "--version") {
    fmt::print("{}\n", cli::version_line());
    return 0;
  }
  std::vector<std::string> names;
  for (const Command& c : menu.commands) {
    if (name == c.name) return c.run(argc - 1, argv + 1);
    names.push_back(c.name);
  }
  const std::string near = cli::nearest(name, names);
  throw Error(str("unknown command '", name, "'",
                  near.empty() ? "" : ", did you mean " + near + "?",
                  hint(menu.program + " --help lists the commands")));
}

}  // namespace pare
