#include "apps/data.h"

#include <fmt/format.h>

#include <filesystem>

namespace pare {

void DataArgs::fields(cli::Fields& f, bool training) {
  f.group("Data");
  const std::vector<std::string> sets = datasets::names(), scales = datasets::normalize_names();
  f(dataset, "dataset",
    fmt::format("{}; by the folder if only --data is given, else synthetic", fmt::join(sets, ", ")),
    {.one_of = sets, .placeholder = "NAME"});
  f(data, "data", "folder with its files, or the folder above (data if not given)",
    {.placeholder = "DIR"});
  f(normalize, "normalize",
    fmt::format("{}; the data set's own if not given", fmt::join(scales, ", ")),
    {.one_of = scales, .placeholder = "NAME"});
  photos.fields(f);
  if (training)
    f(train_limit, "train-limit",
      "train on the first N images only, of photographs on N of all classes; 0: all", {.min = 0});
  f(test_limit, "test-limit", "test on N images only, likewise; 0: all", {.min = 0});
  f(eval_batch_size, "eval-batch-size", "images per batch when evaluating", {.min = 1});
  f(workers, "workers",
    "threads that prepare images; 0: one, for photographs as many as the program has", {.min = 0});
}

void DataArgs::adopt(const std::string& trained_on, const std::string& normalized_as,
                     const PhotoArgs& shown_as, const cli::Given& given) {
  const bool other_files = given.has("data") && trained_on == "synthetic";  // which has no files
  if (!given.has("dataset") && !other_files) dataset = trained_on;
  if (!given.has("normalize")) normalize = normalized_as;
  if (!datasets::has_photos(name())) return;
  if (!given.has("image-size")) photos.image_size = shown_as.image_size;
  if (!given.has("eval-resize") && !given.has("image-size")) {
    photos.eval_resize = shown_as.eval_resize;
  }
  if (!given.has("interpolation")) photos.interpolation = shown_as.interpolation;
}

std::string DataArgs::name() const {
  if (!dataset.empty()) return dataset;
  if (data.empty()) return "synthetic";
  return datasets::is_photo_folder(data) ? "imagenet" : "cifar10";
}

std::string DataArgs::normalization() const {
  return normalize.empty() ? datasets::default_normalize(name()) : normalize;
}

bool DataArgs::is_there() const {
  return name() == "synthetic" || std::filesystem::is_directory(folder());
}

std::shared_ptr<const datasets::ImageSet> load_split(const DataArgs& args, datasets::Split split) {
  const bool train = split == datasets::Split::train;
  PARE_CHECK(datasets::has_photos(args.name()) || args.photos == PhotoArgs(),
             "--image-size, --eval-resize and --interpolation are for photographs, got --dataset ",
             args.name());
  return datasets::load({.name = args.name(),
                         .dir = args.folder(),
                         .split = split,
                         .limit = train ? args.train_limit : args.test_limit,
                         .photos = args.photos.options()});
}

std::unique_ptr<BatchSource> test_batches(const DataArgs& args,
                                          std::shared_ptr<const datasets::ImageSet> images) {
  return datasets::loader(std::move(images),
                          {.batch_size = args.eval_batch_size,
                           .normalize = datasets::normalize_preset(args.normalization()),
                           .threads = static_cast<int>(args.workers)});
}

std::unique_ptr<BatchSource> sample_batches(const DataArgs& args,
                                            std::shared_ptr<const datasets::ImageSet> images,
                                            int64_t batch_size, int64_t seed) {
  return datasets::loader(std::move(images),
                          {.batch_size = batch_size,
                           .shuffle = true,
                           .normalize = datasets::normalize_preset(args.normalization()),
                           .seed = static_cast<uint64_t>(seed),
                           .threads = static_cast<int>(args.workers)});
}

std::string describe_images(const datasets::ImageSet& images) {
  return fmt::format("{} images of {}x{}x{}, {} classes", images.count(), images.image.dim(0),
                     images.image.dim(1), images.image.dim(2), images.classes());
}

std::string describe_unreadable(const std::vector<datasets::Unreadable>& files) {
  constexpr size_t kShown = 5;
  if (files.empty()) return {};
  std::string text =
      fmt::format("{} {} could not be read:", files.size(), files.size() == 1 ? "file" : "files");
  for (size_t i = 0; i < std::min(kShown, files.size()); ++i) {
    text += fmt::format("\n{}: {}", files[i].file, files[i].reason);
  }
  if (files.size() > kShown) text += fmt::format("\nand {} more", files.size() - kShown);
  return text;
}

}  // namespace pare
