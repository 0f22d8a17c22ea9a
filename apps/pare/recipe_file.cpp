#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "apps/pare/prune.h"
#include "apps/pare/recipe.h"
#include "prune/sparsity.h"

namespace pare {

namespace {

using nn::Yaml;
using Field = cli::Fields::Field;

/// A value as the command line would have it.
std::string text_of(const Yaml& value, const Field& field) {
  if (field.flag) return value.boolean() ? "true" : "false";
  if (!value.is_list()) return value.text();
  std::string all;
  for (const Yaml& item : value.items()) all += (all.empty() ? "" : ",") + item.text();
  return all;
}

void set(const Field& field, const Yaml& value, cli::Given& given) {
  try {
    field.set(text_of(value, field));
  } catch (const Error& e) {
    const std::string text = e.what(), flag = "--" + field.name + ": ";
    if (text.rfind(flag, 0) != 0) throw;  // the file's own
    value.fail(text.substr(flag.size()));
  }
  given.flags.insert(field.name);
}

std::vector<std::string> options_of(const StageWork& work) {
  std::vector<std::string> names;
  for (const Field& f : work.fields().all()) {
    if (!work.reserved(f.name)) names.push_back(f.name);
  }
  return names;
}

std::unique_ptr<StageWork> make_work(const std::string& command) {
  for (const StageCommand& c : stage_commands()) {
    if (command == c.name) return c.make();
  }
  throw Error(str("no stage is called ", command), "recipe");
}

class Reader {
 public:
  Reader(const Yaml& file, const RecipeOverrides& overrides) : file_(file), overrides_(overrides) {}

  Recipe read() {
    file_.check_keys({"start", "common", "stages"});
    if (const Yaml* start = file_.find("start")) recipe_.start = start->text();
    if (!overrides_.start.empty()) recipe_.start = overrides_.start;
    read_common();
    const Yaml& stages = file_.at("stages");
    for (const Yaml& stage : stages.items()) read_stage(stage);
    if (recipe_.stages.empty()) stages.fail("there is no stage");
    return std::move(recipe_);
  }

 private:
  /// Options that no command has are refused here, where they are.
  void read_common() {
    common_ = file_.find("common");
    if (!common_) return;
    std::vector<std::string> known;
    for (const StageCommand& c : stage_commands()) {
      const std::vector<std::string> own = options_of(*c.make());
      known.insert(known.end(), own.begin(), own.end());
    }
    std::sort(known.begin(), known.end());
    known.erase(std::unique(known.begin(), known.end()), known.end());
    common_->check_keys(known);
  }

  void read_stage(const Yaml& entry) {
    std::vector<std::string> keys{"name", "from", "iterations", "refine"};
    std::string command;
    for (const StageCommand& c : stage_commands()) {
      keys.emplace_back(c.name);
      if (!entry.find(c.name)) continue;
      if (!command.empty())
        entry.fail(str("is both ", command, " and ", c.name),
                   "each stage begins with a - of its own");
      command = c.name;
    }
    entry.check_keys(keys);
    if (command.empty()) entry.fail("names no command", "such as  - train: {epochs: 10}");
    if (command == "prune" && entry.find("iterations")) return read_steps(entry);
    for (const char* key : {"iterations", "refine"}) {
      if (entry.find(key))
        entry.at(key).fail("is for stages that prune in steps",
                           "iterations: 4 and refine: {epochs: 1}");
    }
    add(entry, command, entry.at(command), name_of(entry, command), from(entry));
  }

  /// prune, refine, prune, refine, ... with shares that grow as sparsity does in gradual pruning.
  void read_steps(const Yaml& entry) {
    constexpr int64_t kMost = 100;
    const int64_t steps = entry.at("iterations").integer(1, kMost);
    const Yaml& prune = entry.at("prune");
    const std::string name = name_of(entry, "prune");
    const int first = from(entry);
    for (int64_t i = 1; i <= steps; ++i) {
      Recipe::Stage& stage = add(entry, "prune", prune, str(name, "-", i), i == 1 ? first : last());
      stage.of = first;
      shrink(stage, prune, static_cast<double>(i) / static_cast<double>(steps));
      add(entry, "train", entry.at("refine"), str(name, "-", i, "-refine"), last());
    }
  }

  /// Only a part of what is asked for in the end.
  static void shrink(Recipe::Stage& stage, const Yaml& prune, double done) {
    for (const char* other : {"plan", "blocks"}) {
      if (prune.find(other))
        prune.at(other).fail("cannot be done in steps", "leave out iterations");
    }
    bool by_percent = true;
    const auto gone = [done](double share) { return share * prune::cubic_sparsity(done, 0, 1); };
    const auto change = [&stage](const std::string& name, const auto& now) {
      for (const Field& f : stage.work->fields().all()) {
        if (f.name != name) continue;
        const double asked = f.json();
        f.set(fmt::format("{:.6g}", now(asked)));
      }
    };
    for (const char* target : kPruneTargets) {
      if (!stage.given.has(target)) continue;
      by_percent = false;
      change(target, [&](double left) { return 1 - gone(1 - left); });
    }
    if (by_percent) change("percent", gone);
  }

  Recipe::Stage& add(const Yaml& entry, const std::string& command, const Yaml& options,
                     const std::string& name, int from) {
    Recipe::Stage stage{.name = name, .command = command, .line = entry.line(), .from = from};
    stage.work = make_work(command);
    if (!names_.insert(name).second) {
      entry.fail(str("the name ", name, " is taken"), "name: tells stages apart");
    }
    options.check_keys(options_of(*stage.work));
    for (const Field& f : stage.work->fields().all()) {
      const Yaml* own = options.find(f.name);
      const Yaml* value = own || !common_ ? own : common_->find(f.name);
      if (value) set(f, *value, stage.given);
      if (value && f.name == "teacher") stage.teacher = stage_called(*value);
      const std::string& over = f.name == "data"      ? overrides_.data
                                : f.name == "threads" ? overrides_.threads
                                                      : kNothing;
      if (over.empty()) continue;
      f.set(over);
      stage.given.flags.insert(f.name);
    }
    recipe_.stages.push_back(std::move(stage));
    return recipe_.stages.back();
  }

  /// The last one that a stage can start from.
  int last() const {
    int at = static_cast<int>(recipe_.stages.size()) - 1;
    while (at >= 0 && !recipe_.stages[static_cast<size_t>(at)].work->leaves_checkpoint()) --at;
    return at;  // -1: start
  }

  /// What stages before this one, and other places, are called; in the order of their indices.
  std::vector<std::string> places() const {
    std::vector<std::string> names{"none", "start"};
    for (const Recipe::Stage& s : recipe_.stages) names.push_back(s.name);
    return names;
  }
  /// The index of one of them; kNone for any other text.
  int stage_called(const Yaml& name) const {
    const std::vector<std::string> names = places();
    const auto found = std::find(names.begin(), names.end(), name.text());
    if (found == names.end()) return Recipe::kNone;
    const int at = static_cast<int>(found - names.begin()) + Recipe::kNone;
    if (at >= 0 && !recipe_.stages[static_cast<size_t>(at)].work->leaves_checkpoint()) {
      name.fail(str("what ", name.text(), " leaves is for other programs"),
                "name the stage before it");
    }
    return at;
  }

  /// The stage before this one, or the one it names.
  int from(const Yaml& entry) const {
    const Yaml* name = entry.find("from");
    if (!name) return last();
    name->word(places());
    return stage_called(*name);
  }

  /// name: or the command's, with a number if it is not the first one.
  std::string name_of(const Yaml& entry, const std::string& command) const {
    if (const Yaml* name = entry.find("name")) {
      const std::string& text = name->text();
      const bool fits = !text.empty() && text != "start" && text != "none" &&
                        std::all_of(text.begin(), text.end(), [](unsigned char c) {
                          return std::isalnum(c) || c == '-' || c == '_';
                        });
      if (!fits) name->fail("a name is made of letters, digits, - and _, and is not start or none");
      return text;
    }
    std::string name = command;
    for (int i = 2; names_.count(name) > 0 || names_.count(name + "-1") > 0; ++i) {
      name = str(command, "-", i);
    }
    return name;
  }

  inline static const std::string kNothing;
  const Yaml& file_;
  const RecipeOverrides& overrides_;
  const Yaml* common_ = nullptr;
  std::set<std::string> names_;
  Recipe recipe_;
};

}  // namespace

Recipe read_recipe(const Yaml& file, const RecipeOverrides& overrides) {
  return Reader(file, overrides).read();
}

}  // namespace pare
