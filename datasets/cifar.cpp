#include <filesystem>
#include <span>

#include "core/error.h"
#include "core/parallel.h"
#include "datasets/files.h"
#include "datasets/sources.h"

namespace pare::datasets {

namespace {

constexpr int64_t kSide = 32, kPlane = kSide * kSide, kPixels = 3 * kPlane;

struct Format {
  Layout layout;
  std::vector<std::string> train, test;  // files of the two splits
  int64_t label_bytes;                   // the last of them is the label
  std::vector<std::string> class_names;

  int64_t record() const { return label_bytes + kPixels; }
};

/// Images in the file, from its size alone.
int64_t count_records(const Format& format, const std::string& path) {
  need_file(format.layout, path);
  const int64_t size = static_cast<int64_t>(std::filesystem::file_size(path));
  PARE_CHECK(size > 0 && size % format.record() == 0, format.layout.set, ": '", path, "' has ",
             size, " bytes, expected a whole number of ", format.record(),
             "-byte images (the original has ", (format.train.size() > 1 ? 10000 : 50000),
             "): is it cut off?", hint(format.layout.hint));
  return size / format.record();
}

/// The batches of one split are equally long; one that is not was cut off between two images.
void check_equal_counts(const Format& format, const std::vector<std::string>& paths,
                        const std::vector<int64_t>& counts) {
  for (size_t i = 1; i < counts.size(); ++i) {
    PARE_CHECK(counts[i] == counts[0], format.layout.set, ": '", paths[i], "' has ", counts[i],
               " images, expected ", counts[0], " as in '", paths[0], "'",
               hint(format.layout.hint));
  }
}

/// Planes [C, H, W] to pixels [H, W, C].
void interleave(const uint8_t* planes, uint8_t* pixels) {
  for (int64_t i = 0; i < kPlane; ++i) {
    for (int64_t c = 0; c < 3; ++c) pixels[3 * i + c] = planes[c * kPlane + i];
  }
}

/// Appends the first `count` images of a file.
void append(const Format& format, const std::string& path, int64_t count, PixelSet& set) {
  const std::vector<uint8_t> bytes = read_bytes(format.layout, path);
  PARE_CHECK(static_cast<int64_t>(bytes.size()) >= count * format.record(), format.layout.set,
             ": '", path, "' changed while it was read");
  for (int64_t i = 0; i < count; ++i) {
    const int label = bytes[static_cast<size_t>(i * format.record() + format.label_bytes - 1)];
    check_label(format.layout, path, i, label, set.classes());
    set.labels.push_back(label);
  }
  const size_t begin = set.pixels.size();
  set.pixels.resize(begin + static_cast<size_t>(count * kPixels));
  parallel_for(count, 64, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      interleave(bytes.data() + i * format.record() + format.label_bytes,
                 set.pixels.data() + begin + i * kPixels);
    }
  });
}

PixelSet load_cifar(const Format& format, const LoadOptions& options) {
  const std::string folder = find_folder(format.layout, options.dir);
  std::vector<std::string> paths;
  std::vector<int64_t> counts;
  for (const std::string& file : options.split == Split::train ? format.train : format.test) {
    paths.push_back((std::filesystem::path(folder) / file).string());
    counts.push_back(count_records(format, paths.back()));
  }
  check_equal_counts(format, paths, counts);

  PixelSet set({kSide, kSide, 3}, format.class_names);
  for (size_t i = 0; i < paths.size(); ++i) {
    const int64_t left = options.limit > 0 ? options.limit - set.count() : counts[i];
    if (left > 0) append(format, paths[i], std::min(left, counts[i]), set);
  }
  return set;
}

const std::vector<std::string> kCifar10 = {"airplane", "automobile", "bird",  "cat",  "deer",
                                           "dog",      "frog",       "horse", "ship", "truck"};

// clang-format off
const std::vector<std::string> kCifar100 = {
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle",
    "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar",
    "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile",
    "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster",
    "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster",
    "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy",
    "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal",
    "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar",
    "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
    "worm"};
// clang-format on

}  // namespace

PixelSet load_cifar10(const LoadOptions& options) {
  const std::vector<std::string> train = {"data_batch_1.bin", "data_batch_2.bin",
                                          "data_batch_3.bin", "data_batch_4.bin",
                                          "data_batch_5.bin"};
  const std::vector<std::string> test = {"test_batch.bin"};
  Layout layout{"cifar10",
                {"cifar-10-batches-bin"},
                {train[0], train[1], train[2], train[3], train[4], test[0]},
                "scripts/get_cifar10 DIR downloads it into DIR/cifar-10-batches-bin"};
  return load_cifar({layout, train, test, 1, kCifar10}, options);
}

PixelSet load_cifar100(const LoadOptions& options) {
  Layout layout{"cifar100",
                {"cifar-100-binary"},
                {"train.bin", "test.bin"},
                "unpack https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz there"};
  return load_cifar({layout, {"train.bin"}, {"test.bin"}, 2, kCifar100}, options);
}

}  // namespace pare::datasets
