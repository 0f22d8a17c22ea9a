#pragma once
// A recipe put into practice, in a folder:
//
//   recipe.json            the stages and their options, as they were begun
//   01-slim, 02-prune ...  what each stage wrote, and when it is done its result.json
//   final.safetensors      what the last stage left; .onnx or .pare if that is an export
//   summary.json           the table of all stages

#include "apps/pare/recipe.h"

namespace pare {

struct RecipeRun {
  std::string file, out;  // no out: the recipe is only checked
  RecipeOverrides overrides;
  bool redo = false;  // stages that changed, and those after them
};

struct RecipeOutcome {
  int code = 0;  // of the program
  Json result;
};
RecipeOutcome run_recipe(Recipe& recipe, const RecipeRun& run, Console& console);

}  // namespace pare
