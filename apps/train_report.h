#pragma once
// What a training run says: on the console, in its config.json and in its summary.json.

#include <string>

#include "apps/console.h"
#include "apps/json.h"
#include "apps/run_folder.h"
#include "apps/train_args.h"
#include "nn/describe.h"
#include "nn/train.h"

namespace pare {

/// A run that is ready to begin.
struct TrainingRun {
  const TrainArgs& args;
  const std::string& program;
  const RunFolder& folder;
  const ModelCard& card;
  nn::Layer& model;
  const nn::Summary& summary;
  const std::string& quantizers;  // lines for the user; none for a float model
  const datasets::ImageSet &train_images, &test_images;
  const Distillation* distillation;  // may be null
};

/// What a run is started with, and what resuming it takes over.
Json config_json(const TrainArgs& args, const cli::Fields& fields, const std::string& program);
void print_head(const TrainingRun& run, Console& console);
Json summary_json(const TrainingRun& run, const nn::TrainResult& r);
void print_summary(const TrainingRun& run, const nn::TrainResult& r, Console& console);

}  // namespace pare
