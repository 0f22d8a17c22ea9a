#include "datasets/datasets.h"
#include "tests/datasets/files_for_test.h"

using namespace pare;
using namespace pare::test;
using datasets::Split;

namespace {

void put_u32(Bytes& bytes, uint32_t value) {
  for (int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<uint8_t>(value >> shift));
}

/// `count` images of 5x4, value 0, 1, 2, ...
Bytes idx_images(uint32_t count) {
  Bytes bytes;
  for (uint32_t v : {0x803u, count, 5u, 4u}) put_u32(bytes, v);
  for (uint32_t i = 0; i < count * 20; ++i) bytes.push_back(static_cast<uint8_t>(i));
  return bytes;
}

/// Labels 9, 8, 7, ...
Bytes idx_labels(uint32_t count) {
  Bytes bytes;
  for (uint32_t v : {0x801u, count}) put_u32(bytes, v);
  for (uint32_t i = 0; i < count; ++i) bytes.push_back(static_cast<uint8_t>(9 - i % 10));
  return bytes;
}

const std::string kImages = "t10k-images-idx3-ubyte", kLabels = "t10k-labels-idx1-ubyte";

datasets::LoadOptions test_split(const std::string& dir, const std::string& name = "mnist") {
  return {.name = name, .dir = dir, .split = Split::test};
}

void check_digits(const datasets::PixelSet& set, int64_t count) {
  CHECK(set.image == Shape{5, 4, 1});
  CHECK(set.classes() == 10);
  REQUIRE(set.count() == count);
  REQUIRE(static_cast<int64_t>(set.pixels.size()) == 20 * count);
  for (size_t i = 0; i < set.pixels.size(); ++i) CHECK(set.pixels[i] == i % 256);
  for (size_t i = 0; i < set.labels.size(); ++i) CHECK(set.labels[i] == 9 - static_cast<int>(i));
}

std::string load_error(const TempFolder& folder) {
  return message_of([&] { datasets::load(test_split(folder.path())); });
}

}  // namespace

TEST_CASE("mnist: plain, gzip and dotted file names") {
  TempFolder plain, packed, dotted;
  plain.write(kImages, idx_images(7));
  plain.write(kLabels, idx_labels(7));
  check_digits(*load_pixels(test_split(plain.path())), 7);

  packed.write_gz(kImages + ".gz", idx_images(6));
  packed.write_gz(kLabels + ".gz", idx_labels(6));
  check_digits(*load_pixels(test_split(packed.path())), 6);

  dotted.write("t10k-images.idx3-ubyte", idx_images(5));
  dotted.write_gz("t10k-labels.idx1-ubyte.gz", idx_labels(5));
  check_digits(*load_pixels(test_split(dotted.path())), 5);
}

TEST_CASE("mnist: both splits, sub-folders, limit") {
  TempFolder folder;
  folder.write("FashionMNIST/raw/train-images-idx3-ubyte", idx_images(8));
  folder.write("FashionMNIST/raw/train-labels-idx1-ubyte", idx_labels(8));
  const auto set = load_pixels({.name = "fashion-mnist", .dir = folder.path(), .limit = 3});
  check_digits(*set, 3);
  CHECK(set->class_names.back() == "ankle boot");
  check_mentions(message_of([&] { datasets::load(test_split(folder.path(), "fashion-mnist")); }),
                 {"fashion-mnist: there is no file '", "FashionMNIST/raw/t10k-images-idx3-ubyte'"});
  check_mentions(load_error(folder), {"mnist: no train-images-idx3-ubyte in '", "hint"});
}

TEST_CASE("mnist: wrong magic, wrong size, wrong count, wrong label") {
  TempFolder folder;
  folder.write(kImages, idx_labels(7));
  folder.write(kLabels, idx_labels(7));
  check_mentions(load_error(folder), {kImages + "' has 15 bytes, expected a header of 16"});
  folder.write(kImages, idx_labels(70));
  check_mentions(load_error(folder),
                 {kImages + "' starts with 0x00000801, expected 0x00000803 (idx images)"});
  folder.write(kImages, idx_images(7));
  folder.truncate(kImages, 100);
  check_mentions(load_error(folder),
                 {kImages + "' has 100 bytes, expected 156 for [7, 5, 4]", "cut off"});
  folder.write(kImages, idx_images(6));
  check_mentions(load_error(folder), {kLabels + "' has 7 labels, expected 6", kImages});
  Bytes labels = idx_labels(6);
  labels.back() = 77;
  folder.write(kLabels, labels);
  check_mentions(load_error(folder), {kLabels + "': image 5 has label 77, expected 0 to 9"});
}

TEST_CASE("mnist: a header that promises more than any file holds") {
  TempFolder folder;
  Bytes huge;
  for (uint32_t v : {0x803u, 0xffffffffu, 0xffffffffu, 0xffffffffu}) put_u32(huge, v);
  folder.write(kImages, huge);
  folder.write(kLabels, idx_labels(7));
  check_mentions(load_error(folder), {kImages + "' has 16 bytes, expected"});
}

TEST_CASE("mnist: a damaged gzip file is refused") {
  TempFolder folder;
  folder.write_gz(kImages + ".gz", idx_images(1000));
  folder.write_gz(kLabels + ".gz", idx_labels(1000));
  folder.truncate(kImages + ".gz", std::filesystem::file_size(folder.path(kImages + ".gz")) - 9);
  check_mentions(load_error(folder), {kImages + ".gz' is damaged or cut off after"});
}

TEST_CASE("datasets: unknown names list the known ones") {
  check_mentions(message_of([] { datasets::load({.name = "cifar11"}); }),
                 {"'cifar11'", "cifar10, cifar100, mnist, fashion-mnist, synthetic"});
  check_mentions(message_of([] { datasets::default_normalize("x"); }), {"'x'", "synthetic"});
  check_mentions(message_of([] { datasets::normalize_preset("cifar"); }),
                 {"'cifar'", "none, half, cifar10, cifar100, mnist, fashion-mnist, imagenet"});
  check_mentions(message_of([] { datasets::load({.limit = -1}); }), {"limit", "-1"});
  for (const std::string& name : datasets::names()) {
    CHECK(datasets::normalize_preset(datasets::default_normalize(name)).std[0] > 0);
  }
}
