#pragma once
// Recipes: commands in a row, each on what the one before it left.
//
//   start: resnet20.safetensors          # weights to begin with; left out: stage one trains some
//   common: {dataset: cifar10, seed: 1}  # options of every command that has them
//   stages:
//     - train: {epochs: 10, sr: true}    # options of `pare train`, without dashes
//       name: slim                       # else the command's own
//     - prune: {macs: 0.5}
//       iterations: 4                    # in steps, with a training behind each
//       refine: {epochs: 1, lr: 0.01}
//     - distill: {teacher: slim}         # a stage, or what `pare distill` takes
//     - train: {quant: "wbab:W2A2", epochs: 10}
//       from: slim                       # another stage than the one before; start; none
//     - export: {to: onnx}

#include <memory>
#include <string>
#include <vector>

#include "apps/pare/recipe_work.h"
#include "nn/yaml.h"

namespace pare {

struct Recipe {
  struct Stage {
    std::string name, command;
    int line = 0;         // of the file
    int from = kStart;    // index of the stage whose result this one takes
    int of = kNone;       // in steps: what the first step took; kNone: not in steps
    int teacher = kNone;  // what it learns from, if that is what a stage left
    cli::Given given = {};
    std::unique_ptr<StageWork> work = {};
  };
  static constexpr int kStart = -1, kNone = -2;

  std::string start;  // file; empty: none
  std::vector<Stage> stages;
};

/// Options that a program sets for all commands, whatever the file says; empty: as the file says.
struct RecipeOverrides {
  std::string start, data, threads;
};

/// Throws on what no command understands, with the line.
Recipe read_recipe(const nn::Yaml& file, const RecipeOverrides& overrides);

}  // namespace pare
