#pragma once
// Data sets by name, and the loader that turns them into batches.

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "core/batch.h"

namespace pare::datasets {

struct Augment;

/// What each of the 256 values of a channel becomes.
using LookupTable = std::array<std::array<float, 256>, 3>;

/// A picture that could not be read, and why.
struct Unreadable {
  std::string file, reason;
};

/// Images with labels; where their pixels are is up to it. Safe to use from several threads.
struct ImageSet {
  Shape image;  // [H, W, C] as they come out
  std::vector<int32_t> labels;
  std::vector<std::string> class_names;

  virtual ~ImageSet() = default;
  int64_t count() const { return static_cast<int64_t>(labels.size()); }
  int64_t classes() const { return static_cast<int64_t>(class_names.size()); }

  /// Writes image `index`, augmented and looked up, to y. False if it cannot be read: then it is
  /// among unreadable().
  virtual bool draw(int64_t index, const Augment& augment, const LookupTable& table, Rng& rng,
                    float* y) const = 0;
  /// Refuses what draw() could not do.
  virtual void check(const Augment& augment) const = 0;
  /// Whether an image takes so long that several threads should share a batch.
  virtual bool slow() const { return false; }
  /// What was found so far, images of the set and files that are none.
  virtual std::vector<Unreadable> unreadable() const { return {}; }
};

/// Images in memory, one byte per value, [H, W, C] each.
struct PixelSet final : ImageSet {
  std::vector<uint8_t> pixels;  // count x H x W x C

  PixelSet(const Shape& size, std::vector<std::string> classes);
  bool draw(int64_t index, const Augment& augment, const LookupTable& table, Rng& rng,
            float* y) const override;
  void check(const Augment& augment) const override;
};

enum class Split { train, test };
enum class Filter { bilinear, bicubic };  // both with antialias

/// How photographs of any size become images of one size.
struct PhotoOptions {
  int64_t size = 224;  // height and width
  int64_t resize = 0;  // tests: shorter side before the centre is cut out; 0: size * 8 / 7
  Filter filter = Filter::bilinear;
};
/// One JPEG or PNG file as a test shows it, [size, size, 3]. Throws Error if it cannot be read.
std::vector<uint8_t> read_photo(const std::string& path, const PhotoOptions& options);

/// "cifar10", "cifar100", "mnist", "fashion-mnist", "synthetic", "imagenet". `dir` is the folder
/// with the files, as their authors name them, or the folder above it (data/ for
/// data/cifar-10-batches-bin); synthetic needs none. imagenet is any folder with train/ and val/,
/// a folder of JPEG or PNG files for each class below them, or what pack() made of it.
struct LoadOptions {
  std::string name = "synthetic", dir = {};
  Split split = Split::train;
  uint64_t seed = 0;  // synthetic only
  /// > 0: the first `limit` images; synthetic draws that many (0: 8000 or 2000), imagenet spreads
  /// them over all classes.
  int64_t limit = 0;
  PhotoOptions photos = {};  // imagenet only
};
std::shared_ptr<const ImageSet> load(const LoadOptions& options);
std::vector<std::string> names();
/// Whether the sets called so are photographs of any size.
bool has_photos(const std::string& name);
/// Whether `dir` looks like "imagenet", and whether it has this half of it.
bool is_photo_folder(const std::string& dir);
bool has_split(const std::string& dir, Split split);

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

/// What happens to training images at random. Nothing, by default.
struct Augment {
  int crop_pad = 0;   // in memory; > 0: black on each side, then a window of the old size
  bool flip = false;  // left-right with probability 1/2, after the crop
  // Photographs; arXiv:1409.4842, section 6, is the crop.
  float crop_area = 0;     // > 0: a window of crop_area .. 1 of the area, 3/4 to 4/3 wide
  float jitter = 0;        // brightness, contrast and saturation times 1 - jitter .. 1 + jitter
  int rand_ops = 0;        // RandAugment, arXiv:1909.13719: so many operations in turn
  int rand_magnitude = 9;  // of them, up to 30
  // Two images of a batch and their labels, which become [N, classes]. Both: either, by a coin.
  float mixup = 0;   // > 0: blended, arXiv:1710.09412; the share is Beta(mixup, mixup)
  float cutmix = 0;  // > 0: a rectangle is pasted, arXiv:1905.04899; Beta(cutmix, cutmix)
};

struct LoaderOptions {
  int64_t batch_size = 128;
  bool shuffle = false;
  bool drop_last = false;
  Augment augment = {};
  int64_t views = 0;  // > 0: augment shows an image in so many ways, one per epoch, for any seed
  Normalize normalize = {};
  uint64_t seed = 0;
  int prefetch = 2;  // batches prepared ahead by background threads; 0: in the caller
  int threads = 0;   // that prepare them; 0: one, or num_threads() for slow sets
  /// Of every batch the part of process `rank` of `ranks`. A last batch with fewer images than
  /// processes is left out.
  int rank = 0, ranks = 1;
};
/// Without a start(), next() begins with epoch 0. A failure while preparing a batch is thrown by
/// next(). The place of an image that cannot be read is taken by the next one of the epoch.
std::unique_ptr<BatchSource> loader(std::shared_ptr<const ImageSet> images,
                                    const LoaderOptions& options);

}  // namespace pare::datasets
