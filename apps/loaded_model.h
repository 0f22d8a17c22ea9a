#pragma once
// A model from a file, with images to test it on: what programs that look at trained models share.

#include <memory>
#include <string>

#include "apps/console.h"
#include "apps/data.h"
#include "apps/model.h"

namespace pare {

struct LoadedModel {
  ModelCard card;
  nn::Metadata metadata;  // all that the file says
  nn::Layer model;
  std::shared_ptr<const datasets::ImageSet> images;  // to test on; null: see WithImages
};

/// if_there: a model whose file says what images it is for may do without them.
enum class WithImages { always, if_there };

/// A checkpoint says what it holds and what it was trained on; so does an ONNX file written here;
/// for other files the flags must. `args` and `data` take over what the file says.
LoadedModel load_model(ModelArgs& args, DataArgs& data, const cli::Given& given,
                       const std::string& weights, WithImages with = WithImages::always);

/// "pare eval  avx512, 2 threads"
std::string program_line(const std::string& program);
/// What programs begin with: their own line, the model, the images that it is tested on.
void print_head(const std::string& program, const LoadedModel& loaded, const std::string& weights,
                const DataArgs& data, Console& console);

/// A checkpoint of `now`, a rewrite of the loaded model, that says how its layers differ from those
/// that the model's name builds. `metadata` is what else it says.
void save_changed(const LoadedModel& loaded, nn::Layer& now, const DataArgs& data,
                  nn::Metadata metadata, const std::string& path);

}  // namespace pare
