#pragma once
// Data sets by name, and the loader that turns them into batches.

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "core/batch.h"

namespace pare::datasets {

/// Images in memory, one byte per value, [H, W, C] each.
struct ImageSet {
  Shape image;                  // [H, W, C]
  std::vector<uint8_t> pixels;  // count x H x W x C
  std::vector<int32_t> labels;
  std::vector<std::string> class_names;
  int64_t count() const { return static_cast<int64_t>(labels.size()); }
  int64_t classes() const { return static_cast<int64_t>(class_names.size()); }
};

enum class Split { train, test };

/// "cifar10", "cifar100", "mnist", "fashion-mnist", "synthetic". `dir` is the folder with the
/// files, as their authors name them, or the folder above it (data/ for data/cifar-10-batches-bin);
/// synthetic needs none.
struct LoadOptions {
  std::string name = "synthetic", dir = {};
  Split split = Split::train;
  uint64_t seed = 0;  // synthetic only
  int64_t limit = 0;  // > 0: the first `limit` images; synthetic draws that many (0: 8000 or 2000)
};
std::shared_ptr<const ImageSet> load(const LoadOptions& options);
std::vector<std::string> names();

/// Per-channel (value / 255 - mean) / std. Images of one channel use the first numbers.
struct Normalize {
  std::array<float, 3> mean{0, 0, 0}, std{1, 1, 1};
};
/// "none", "half" (0.5/0.5), "cifar10", "cifar100", "mnist", "fashion-mnist", "imagenet",
/// "synthetic"
Normalize normalize_preset(const std::string& name);
std::vector<std::string> normalize_names();
/// The preset that goes with a data set's name.
std::string default_normalize(const std::string& dataset);

struct LoaderOptions {
  int64_t batch_size = 128;
  bool shuffle = false;
  bool drop_last = false;
  int crop_pad = 0;   // > 0: black on each side, then a random window of the old size
  bool flip = false;  // left-right with probability 1/2, after the crop
  int64_t views = 0;  // > 0: crops and flips of an image repeat after so many epochs
  Normalize normalize = {};
  uint64_t seed = 0;
  int prefetch = 2;  // batches prepared ahead by a background thread; 0: in the caller
  /// Of every batch the part of process `rank` of `ranks`. A last batch with fewer images than
  /// processes is left out.
  int rank = 0, ranks = 1;
};
/// Without a start(), next() begins with epoch 0. A failure while preparing a batch is thrown by
/// next().
std::unique_ptr<BatchSource> loader(std::shared_ptr<const ImageSet> images,
                                    const LoaderOptions& options);

}  // namespace pare::datasets
