#include "datasets/datasets.h"
#include "tests/datasets/files_for_test.h"

using namespace pare;
using namespace pare::test;
using datasets::PixelSet;
using datasets::Split;

namespace {

constexpr int64_t kPixels = 3 * 32 * 32;

/// Plane c, row i, column j of image n: different at every neighbour.
uint8_t value(int64_t n, int64_t c, int64_t i, int64_t j) {
  return static_cast<uint8_t>(n * 31 + c * 97 + i * 7 + j);
}

/// Images first .. first + count - 1 as the file holds them; label n % classes.
Bytes records(int64_t first, int64_t count, int64_t classes, bool coarse = false) {
  Bytes bytes;
  for (int64_t n = first; n < first + count; ++n) {
    if (coarse) bytes.push_back(200);  // no valid fine label: reading the wrong byte must fail
    bytes.push_back(static_cast<uint8_t>(n % classes));
    for (int64_t c = 0; c < 3; ++c) {
      for (int64_t i = 0; i < 32; ++i) {
        for (int64_t j = 0; j < 32; ++j) bytes.push_back(value(n, c, i, j));
      }
    }
  }
  return bytes;
}

/// Five training batches of three images, a test batch of four.
void write_cifar10(const TempFolder& folder, const std::string& below = "") {
  for (int64_t b = 0; b < 5; ++b) {
    folder.write(below + "data_batch_" + std::to_string(b + 1) + ".bin", records(3 * b, 3, 10));
  }
  folder.write(below + "test_batch.bin", records(100, 4, 10));
}

void check_images(const PixelSet& set, int64_t first, int64_t count, int64_t classes) {
  REQUIRE(set.count() == count);
  REQUIRE(static_cast<int64_t>(set.pixels.size()) == count * kPixels);
  CHECK(set.image == Shape{32, 32, 3});
  CHECK(set.classes() == classes);
  int64_t wrong = 0;
  for (int64_t n = 0; n < count; ++n) {
    CHECK(set.labels[static_cast<size_t>(n)] == (first + n) % classes);
    for (int64_t i = 0; i < 32; ++i) {
      for (int64_t j = 0; j < 32; ++j) {
        for (int64_t c = 0; c < 3; ++c) {
          const auto at = static_cast<size_t>(n * kPixels + (i * 32 + j) * 3 + c);
          wrong += set.pixels[at] != value(first + n, c, i, j);
        }
      }
    }
  }
  CHECK(wrong == 0);
}

std::string load_error(const std::string& name, const std::string& dir, Split split) {
  return message_of([&] { datasets::load({.name = name, .dir = dir, .split = split}); });
}

}  // namespace

TEST_CASE("cifar10: five batches in order, planes become pixels") {
  TempFolder folder;
  write_cifar10(folder);
  check_images(*load_pixels({.name = "cifar10", .dir = folder.path()}), 0, 15, 10);
  const auto test = load_pixels({.name = "cifar10", .dir = folder.path(), .split = Split::test});
  check_images(*test, 100, 4, 10);
  CHECK(test->class_names.front() == "airplane");
  CHECK(test->class_names.back() == "truck");
}

TEST_CASE("cifar10: the folder above will do, and a limit may end inside a batch") {
  TempFolder folder;
  write_cifar10(folder, "cifar-10-batches-bin/");
  for (int64_t limit : {1, 3, 7, 15, 1000}) {
    CAPTURE(limit);
    const auto set = load_pixels({.name = "cifar10", .dir = folder.path(), .limit = limit});
    check_images(*set, 0, std::min<int64_t>(limit, 15), 10);
  }
}

TEST_CASE("cifar100: the fine label counts") {
  TempFolder folder;
  folder.write("cifar-100-binary/train.bin", records(90, 20, 100, true));
  folder.write("cifar-100-binary/test.bin", records(7, 2, 100, true));
  for (const std::string& dir : {folder.path(), folder.path("cifar-100-binary")}) {
    const auto train = load_pixels({.name = "cifar100", .dir = dir});
    check_images(*train, 90, 20, 100);
    CHECK(train->class_names.front() == "apple");
    CHECK(train->class_names.back() == "worm");
    check_images(*load_pixels({.name = "cifar100", .dir = dir, .split = Split::test}), 7, 2, 100);
  }
}

TEST_CASE("cifar10: a missing folder or file is named, with the way to get it") {
  TempFolder folder;
  check_mentions(load_error("cifar10", folder.path("nowhere"), Split::train),
                 {"cifar10: there is no folder '", "nowhere'", "hint", "scripts/get_cifar10"});
  check_mentions(load_error("cifar10", folder.path(), Split::train),
                 {"no data_batch_1.bin in '", "cifar-10-batches-bin'", "scripts/get_cifar10"});
  check_mentions(load_error("cifar10", "", Split::train), {"cifar10: no folder was given"});
  write_cifar10(folder);
  std::filesystem::remove(folder.path("data_batch_4.bin"));
  check_mentions(load_error("cifar10", folder.path(), Split::train),
                 {"there is no file '", "data_batch_4.bin'"});
  std::filesystem::remove(folder.path("test_batch.bin"));
  check_mentions(load_error("cifar10", folder.path(), Split::test),
                 {"there is no file '", "test_batch.bin'"});
}

TEST_CASE("cifar10: a file that was cut off is refused") {
  TempFolder folder;
  write_cifar10(folder);
  folder.truncate("data_batch_2.bin", 3 * 3073 - 1);
  check_mentions(load_error("cifar10", folder.path(), Split::train),
                 {"data_batch_2.bin' has 9218 bytes", "3073-byte images", "10000"});
  folder.truncate("data_batch_2.bin", 2 * 3073);  // between two images
  check_mentions(load_error("cifar10", folder.path(), Split::train),
                 {"data_batch_2.bin' has 2 images, expected 3", "data_batch_1.bin'"});
  folder.truncate("test_batch.bin", 0);
  check_mentions(load_error("cifar10", folder.path(), Split::test),
                 {"test_batch.bin' has 0 bytes"});
}

TEST_CASE("cifar: a label out of range is refused") {
  TempFolder folder;
  write_cifar10(folder);
  Bytes bad = records(0, 4, 10);
  bad[2 * 3073] = 10;
  folder.write("test_batch.bin", bad);
  check_mentions(load_error("cifar10", folder.path(), Split::test),
                 {"test_batch.bin': image 2 has label 10, expected 0 to 9"});
}
