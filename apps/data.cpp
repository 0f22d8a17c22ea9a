#include "apps/data.h"

#include <fmt/format.h>

namespace pare {

void DataArgs::fields(cli::Fields& f, bool training) {
  f.group("Data");
  const std::vector<std::string> sets = datasets::names(), scales = datasets::normalize_names();
  f(dataset, "dataset",
    fmt::format("{}; cifar10 if only --data is given, else synthetic", fmt::join(sets, ", ")),
    {.one_of = sets, .placeholder = "NAME"});
  f(data, "data", "folder with its files, or the folder above (data if not given)",
    {.placeholder = "DIR"});
  f(normalize, "normalize",
    fmt::format("{}; the data set's own if not given", fmt::join(scales, ", ")),
    {.one_of = scales, .placeholder = "NAME"});
  if (training)
    f(train_limit, "train-limit", "train on the first N images only; 0: all", {.min = 0});
  f(test_limit, "test-limit", "test on the first N images only; 0: all", {.min = 0});
  f(eval_batch_size, "eval-batch-size", "images per batch when evaluating", {.min = 1});
}

void DataArgs::adopt(const std::string& trained_on, const std::string& normalized_as,
                     const cli::Given& given) {
  const bool other_files = given.has("data") && trained_on == "synthetic";  // which has no files
  if (!given.has("dataset") && !other_files) dataset = trained_on;
  if (!given.has("normalize")) normalize = normalized_as;
}

std::string DataArgs::name() const {
  if (!dataset.empty()) return dataset;
  return data.empty() ? "synthetic" : "cifar10";
}

std::string DataArgs::normalization() const {
  return normalize.empty() ? datasets::default_normalize(name()) : normalize;
}

std::shared_ptr<const datasets::ImageSet> load_split(const DataArgs& args, datasets::Split split) {
  const bool train = split == datasets::Split::train;
  return datasets::load({.name = args.name(),
                         .dir = args.folder(),
                         .split = split,
                         .limit = train ? args.train_limit : args.test_limit});
}

std::unique_ptr<BatchSource> test_batches(const DataArgs& args,
                                          std::shared_ptr<const datasets::ImageSet> images) {
  return datasets::loader(std::move(images),
                          {.batch_size = args.eval_batch_size,
                           .normalize = datasets::normalize_preset(args.normalization())});
}

std::string describe_images(const datasets::ImageSet& images) {
  return fmt::format("{} images of {}x{}x{}, {} classes", images.count(), images.image.dim(0),
                     images.image.dim(1), images.image.dim(2), images.classes());
}

}  // namespace pare
