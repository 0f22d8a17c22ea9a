#include "apps/pare/recipe_folder.h"

#include <fmt/format.h>

#include <filesystem>

#include "apps/version.h"
#include "core/files.h"

namespace pare {

namespace fs = std::filesystem;

namespace {

std::string name_of(const Json& stage) { return stage.at("stage").get<std::string>(); }

/// "stage 2 (prune) was done with percent 0.5, now it is 0.6"; nothing if both are alike.
std::string difference(size_t index, const Json& was, const Json& is) {
  const std::string which = fmt::format("stage {} ({})", index + 1, name_of(was));
  if (was.at("stage") != is.at("stage") || was.at("command") != is.at("command")) {
    return fmt::format("{} is now {}", which, name_of(is));
  }
  for (const char* key : {"from", "weights"}) {
    if (was.value(key, "") == is.value(key, "")) continue;
    return fmt::format("{} started from {}, now from {}", which, was.value(key, "nothing"),
                       is.value(key, "nothing"));
  }
  for (const auto& [option, value] : is.at("options").items()) {
    if (!was.at("options").contains(option) || was["options"][option] == value) continue;
    return fmt::format("{} was done with {} {}, now it is {}", which, option,
                       was["options"][option].dump(), value.dump());
  }
  return {};
}

void create(const std::string& folder) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  PARE_CHECK(!failed, "cannot create ", folder, ": ", failed.message());
}

void remove(const std::string& path) {
  std::error_code failed;
  fs::remove_all(path, failed);
  PARE_CHECK(!failed, "cannot remove ", path, ": ", failed.message());
}

}  // namespace

Json recipe_json(const Recipe& recipe, const std::string& file) {
  Json stages = Json::array();
  for (const Recipe::Stage& s : recipe.stages) {
    Json options = Json::object();
    for (const cli::Fields::Field& f : s.work->fields().all()) {
      if (!s.work->reserved(f.name) && !without_effect(f.name)) options[f.name] = f.json();
    }
    Json stage{{"stage", s.name}, {"command", s.command}};
    if (s.from >= 0) {
      stage["from"] = recipe.stages[static_cast<size_t>(s.from)].name;
    } else if (s.from == Recipe::kStart && !recipe.start.empty()) {
      stage["weights"] = fs::path(recipe.start).lexically_normal().string();
    }
    stage["options"] = options;
    stages.push_back(stage);
  }
  return {{"program", "pare recipe"},
          {"version", kVersion},
          {"commit", kCommit},
          {"recipe", file},
          {"stages", stages}};
}

std::string RecipeFolder::stage(size_t index, const std::string& name) const {
  return fmt::format("{}/{:02}-{}", path_, index + 1, name);
}

std::string RecipeFolder::result_file(size_t index, const Recipe::Stage& s) const {
  return stage(index, s.name) + "/result.json";
}

bool RecipeFolder::finished(size_t index, const Recipe::Stage& s) const {
  return fs::exists(result_file(index, s)) &&
         fs::exists(stage(index, s.name) + "/" + s.work->file());
}

Json RecipeFolder::result(size_t index, const Recipe::Stage& s) const {
  return read_json_file(result_file(index, s));
}

StageResult RecipeFolder::run(size_t index, Recipe::Stage& s, Console& console) const {
  create(stage(index, s.name));
  return s.work->run(s.given, console);
}

void RecipeFolder::finish(size_t index, const Recipe::Stage& s, const StageResult& r,
                          double seconds) const {
  const Json json{{"stage", s.name},    {"command", s.command},
                  {"top1", r.top1},     {"params", r.params},
                  {"macs", r.macs},     {"bytes", r.bytes},
                  {"seconds", seconds}, {"file", stage(index, s.name) + "/" + s.work->file()},
                  {"before", r.before}, {"report", r.report}};
  write_file_atomically(result_file(index, s), {json.dump(2) + "\n"});
}

/// Folders of stages that are not those of the recipe, or made of what will be another; `why` says
/// what is wrong with the first one.
std::vector<std::string> RecipeFolder::stale(const Recipe& recipe, const Json& plan,
                                             std::string& why) const {
  const Json before = read_json_file(path_ + "/recipe.json");
  const Json &was = before.at("stages"), &is = plan.at("stages");
  std::vector<std::string> folders;
  std::string unfinished;
  for (size_t i = 0; i < was.size(); ++i) {
    const std::string folder = stage(i, name_of(was[i]));
    if (!fs::exists(folder)) {
      if (unfinished.empty()) unfinished = name_of(was[i]);
      continue;
    }
    if (why.empty() && i >= is.size()) {
      why = fmt::format("stage {} ({}) is not in the recipe", i + 1, name_of(was[i]));
    }
    if (why.empty()) why = difference(i, was[i], is[i]);
    if (why.empty() && !unfinished.empty()) {
      why = fmt::format("{} is done, but not {} before it", name_of(was[i]), unfinished);
    }
    if (!why.empty()) {
      folders.push_back(folder);
    } else if (unfinished.empty() && !finished(i, recipe.stages[i])) {
      unfinished = name_of(was[i]);
    }
  }
  return folders;
}

void RecipeFolder::open(const Recipe& recipe, const Json& plan, bool redo) {
  std::error_code error;
  PARE_CHECK(!fs::exists(path_) || fs::is_directory(path_), "--out ", path_,
             " is a file, expected a folder");
  if (fs::exists(path_ + "/recipe.json")) {
    std::string why;
    const std::vector<std::string> folders = stale(recipe, plan, why);
    PARE_CHECK(folders.empty() || redo, path_, ": ", why,
               hint("--redo does it and all that follows again; another --out leaves it alone"));
    for (const std::string& folder : folders) remove(folder);
  } else {
    PARE_CHECK(!fs::exists(path_) || fs::is_empty(path_, error), "--out ", path_,
               " is not empty, and holds no recipe");
  }
  create(path_);
  for (const char* old : {"final.safetensors", "final.onnx", "final.pare", "summary.json"}) {
    remove(path_ + "/" + old);
  }
  write_file_atomically(path_ + "/recipe.json", {plan.dump(2) + "\n"});
}

}  // namespace pare
