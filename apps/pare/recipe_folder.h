#pragma once
// What is done of a recipe, as far as its folder says.

#include <string>

#include "apps/pare/recipe.h"

namespace pare {

/// All stages with all options that matter.
Json recipe_json(const Recipe& recipe, const std::string& file);

class RecipeFolder {
 public:
  explicit RecipeFolder(std::string path) : path_(std::move(path)) {}

  /// Writes recipe.json. Refuses stages that were done otherwise, and those that were made of them,
  /// or removes them (redo).
  void open(const Recipe& recipe, const Json& plan, bool redo);

  /// "runs/a/02-prune"
  std::string stage(size_t index, const std::string& name) const;
  bool finished(size_t index, const Recipe::Stage& s) const;
  StageResult run(size_t index, Recipe::Stage& s, Console& console) const;
  void finish(size_t index, const Recipe::Stage& s, const StageResult& result,
              double seconds) const;
  Json result(size_t index, const Recipe::Stage& s) const;

 private:
  std::string result_file(size_t index, const Recipe::Stage& s) const;
  std::vector<std::string> stale(const Recipe& recipe, const Json& plan, std::string& why) const;

  std::string path_;
};

}  // namespace pare
