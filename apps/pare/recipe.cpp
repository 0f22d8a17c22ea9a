#include "apps/pare/recipe.h"

#include <fmt/format.h>

#include "apps/common_fields.h"
#include "apps/compute.h"
#include "apps/pare/commands.h"
#include "apps/pare/recipe_run.h"

namespace pare {

namespace {

struct RecipeArgs {
  std::string out, start, data;
  int64_t threads = 0;
  bool redo = false, quiet = false, json = false;

  void fields(cli::Fields& f) {
    f.group("Recipe");
    f(out, "out",
      "folder for all stages: a finished one is not done again; if not given, the recipe is only "
      "checked",
      {.placeholder = "DIR"});
    f(redo, "redo", "do stages that were changed, and all that follow them, again");
    f(start, "start", "weights to begin with, instead of the file's", {.placeholder = "FILE"});
    f(data, "data", "folder with the data set, for all stages", {.placeholder = "DIR"});
    f(threads, "threads", "of all stages; 0: as the file says, or one per processor",
      {.min = 0, .max = 1024});
    f.group("Run");
    cli::output_fields(f, quiet, json);
  }
};

constexpr const char* kExamples =
    "  pare recipe apps/recipes/slim_w4a4.yaml --out runs/slim\n"
    "  pare recipe apps/recipes/slim_w4a4.yaml\n"
    "\nA recipe (docs/prune.md explains it):\n"
    "  common: {dataset: cifar10, seed: 1}\n"
    "  stages:\n"
    "    - train: {model: nin, epochs: 30, sr: true}\n"
    "    - prune: {method: slimming, percent: 0.5}\n"
    "    - train: {epochs: 20, lr: 0.01}\n"
    "    - train: {quant: \"wbab:W2A2\", epochs: 40}\n"
    "    - fold: {}\n";

}  // namespace

int recipe_command(int argc, char** argv) {
  RecipeArgs args;
  const cli::Given given =
      cli::parse(args,
                 {.name = "pare recipe",
                  .summary = "Runs the commands of a recipe file, each on what the last one left.",
                  .rest = "FILE",
                  .examples = kExamples},
                 argc, argv);
  if (given.leave) return 0;
  PARE_CHECK(given.rest.size() == 1, "expected one recipe file, got ", given.rest.size(),
             hint("pare recipe FILE --out DIR"));
  Console console({.json = args.json, .quiet = args.quiet});
  const RecipeOverrides overrides{
      .start = args.start, .data = args.data, .threads = args.threads > 0 ? str(args.threads) : ""};
  Recipe recipe = read_recipe(nn::Yaml::load(given.rest[0]), overrides);
  const RecipeOutcome outcome = run_recipe(
      recipe, {.file = given.rest[0], .out = args.out, .overrides = overrides, .redo = args.redo},
      console);
  console.result(outcome.result);
  return outcome.code;
}

}  // namespace pare
