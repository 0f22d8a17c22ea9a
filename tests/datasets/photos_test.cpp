#include <fstream>
#include <set>

#include "datasets/datasets.h"
#include "tests/datasets/photo_folder_for_test.h"
#include "tests/datasets/pil_vectors.h"

using namespace pare;
using namespace pare::test;
using datasets::LoadOptions;
using datasets::Split;

TEST_CASE("photos: classes, labels and sizes come from the folder") {
  TempFolder folder;
  write_photos(folder);
  const auto train = photos(folder), test = photos(folder, Split::test);
  CHECK(train->image == Shape{16, 16, 3});
  CHECK(train->class_names == std::vector<std::string>{"cat", "dog", "eel"});
  CHECK(train->labels == std::vector<int32_t>{0, 0, 0, 0, 1, 1, 1, 2, 2});
  CHECK(test->labels == std::vector<int32_t>{0, 0, 1, 1, 2});
  CHECK(datasets::is_photo_folder(folder.path()));
  CHECK_FALSE(datasets::is_photo_folder(folder.path("train")));
  int64_t seen = 0;
  for (const Batch& b : epoch_of(train, {.batch_size = 4})) {
    CHECK(b.x.shape() == Shape{b.y.numel(), 16, 16, 3});
    for (int64_t i = 0; i < b.y.numel(); ++i) {
      CHECK(b.y.data()[i] == static_cast<float>(train->labels[static_cast<size_t>(seen++)]));
    }
  }
  CHECK(seen == 9);
}

TEST_CASE("photos: a limit is spread over the classes") {
  TempFolder folder;
  write_photos(folder);
  LoadOptions options = options_of(folder);
  options.limit = 3;
  CHECK(datasets::load(options)->labels == std::vector<int32_t>{0, 0, 1});
  options.limit = 5;
  CHECK(datasets::load(options)->labels == std::vector<int32_t>{0, 0, 0, 1, 2});
  options.limit = 50;
  CHECK(datasets::load(options)->count() == 9);
}

TEST_CASE("photos: classes.txt says which class is which") {
  TempFolder folder;
  write_photos(folder);
  const std::string lines = "ant\r\neel\ndog\n\ncat\n";
  folder.write("classes.txt", Bytes(lines.begin(), lines.end()));
  const auto test = photos(folder, Split::test);
  CHECK(test->classes() == 4);
  CHECK(test->labels == std::vector<int32_t>{3, 3, 2, 2, 1});
}

TEST_CASE("photos: a test picture is resized, then its centre is cut out, as torchvision does") {
  TempFolder folder;
  folder.write("val/a/x.png", png_of(pattern(23, 37)));
  LoadOptions options = options_of(folder, Split::test, 6);
  options.photos.resize = 8;
  const auto batch = epoch_of(datasets::load(options), {.batch_size = 1})[0];
  const Tensor& x = batch.x;
  for (size_t i = 0; i < pil::kCentre.size(); ++i) {
    CHECK(std::abs(255 * x.span()[i] - static_cast<float>(pil::kCentre[i])) < 1.01f);
  }
  options.photos.resize = 5;
  check_mentions(load_refusal(options), {"becomes 5", "middle 6"});
}

TEST_CASE("photos: flips mirror, whole windows show all") {
  TempFolder folder;
  folder.write("train/a/x.png", png_of(pattern(16, 16)));
  const auto set = photos(folder);
  const Bitmap x = pattern(16, 16);
  int flipped = 0;
  for (int64_t epoch = 0; epoch < 40; ++epoch) {
    const Batch b = epoch_of(set, {.augment = {.flip = true, .crop_area = 1}}, epoch)[0];
    const bool mirrored = 255 * b.x.data()[0] != x.row(0)[0];
    for (int64_t j = 0; j < 16; ++j) {
      const int want = x.row(3)[3 * (mirrored ? 15 - j : j)];
      CHECK(std::abs(255 * b.x.data()[(3 * 16 + j) * 3] - static_cast<float>(want)) < 0.01f);
    }
    flipped += mirrored;
  }
  CHECK(flipped > 8);
  CHECK(flipped < 32);
}

TEST_CASE("photos: a window shows what lies in it") {
  // The brightness of each pixel is its row: what is seen grows downwards, from a first to a last
  // row that tell the window.
  TempFolder folder;
  Bitmap rows(200, 200);
  for (int64_t i = 0; i < 200; ++i) std::fill_n(rows.row(i), 600, static_cast<uint8_t>(i));
  folder.write("train/a/x.png", png_of(rows));
  const auto set = photos(folder);
  std::set<int> heights;
  double area = 0;
  constexpr int kDraws = 200;
  for (int64_t epoch = 0; epoch < kDraws; ++epoch) {
    const Batch b = epoch_of(set, {.augment = {.crop_area = 0.25f}, .prefetch = 0}, epoch)[0];
    const float first = 255 * b.x.data()[0], last = 255 * b.x.data()[15 * 16 * 3];
    const double height = (last - first) * 16 / 15;
    CHECK(height > 200 * std::sqrt(0.25 * 3 / 4) - 3);
    CHECK(height < 203);
    heights.insert(static_cast<int>(height));
    area += height * height / kDraws;
  }
  CHECK(heights.size() > 50);
  CHECK(std::abs(area / 40000 - 0.6) < 0.08);  // near the middle of 0.25 .. 1, less what cannot fit
}

TEST_CASE("photos: batches depend on seed, epoch and index alone") {
  TempFolder folder;
  write_photos(folder);
  const auto set = photos(folder);
  datasets::LoaderOptions options{.batch_size = 4, .shuffle = true, .augment = kAll, .seed = 3};
  options.augment.mixup = 0.3f;
  options.augment.cutmix = 1;
  options.prefetch = 0;
  const auto want = epoch_of(set, options, 2);
  for (int threads : {1, 2, 5}) {
    for (int prefetch : {0, 1, 3}) {
      options.threads = threads;
      options.prefetch = prefetch;
      check_same_batches(epoch_of(set, options, 2), want);
    }
  }
  const auto source = datasets::loader(set, options);
  source->start(2, 1);
  CHECK(source->next()->x == want[1].x);
  CHECK_FALSE(epoch_of(set, options, 3)[0].x == want[0].x);
  options.seed = 4;
  CHECK_FALSE(epoch_of(set, options, 2)[0].x == want[0].x);
}

TEST_CASE("photos: what cannot be read is replaced, counted and named") {
  TempFolder folder;
  write_photos(folder);
  Bytes broken = jpeg_of(scenery(50, 50));
  broken.resize(broken.size() / 2);
  folder.write("train/cat/half.jpg", broken);
  folder.write("train/dog/text.jpeg", {'h', 'i'});
  folder.write("train/dog/notes.txt", {'h', 'i'});
  folder.write("train/dog/.hidden", {'h', 'i'});
  folder.write("train/eel/empty.png", {});
  const auto set = photos(folder);
  CHECK(set->count() == 12);
  CHECK(set->unreadable().size() == 1);
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    const auto batches = epoch_of(set, {.batch_size = 4}, epoch);
    REQUIRE(batches.size() == 3);
    std::vector<float> labels;
    for (const Batch& b : batches) {
      CHECK(b.x.dim(0) == 4);
      labels.insert(labels.end(), b.y.span().begin(), b.y.span().end());
    }
    // half.jpg is the first of the cats, text.jpeg the last of the dogs, empty.png the first eel:
    // the next ones stand there too.
    CHECK(labels == std::vector<float>{0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2});
    const int64_t size = 16 * 16 * 3;
    CHECK(std::equal(batches[0].x.data(), batches[0].x.data() + size, batches[0].x.data() + size));
    CHECK(std::equal(batches[2].x.data(), batches[2].x.data() + size,
                     batches[2].x.data() + 2 * size));
  }
  std::string all;
  for (const auto& [file, reason] : set->unreadable()) all += file + ": " + reason + "\n";
  check_mentions(all, {"notes.txt: not called", "cat/half.jpg: JPEG that is cut off",
                       "dog/text.jpeg: neither JPEG nor PNG", "eel/empty.png: empty file"});
  CHECK_FALSE(contains(all, "hidden"));
  CHECK(set->unreadable().size() == 4);
}

TEST_CASE("photos: a set without a readable picture is an error, not an empty epoch") {
  TempFolder folder;
  folder.write("val/a/x.jpg", {1, 2, 3});
  folder.write("val/a/y.png", {});
  const auto source = datasets::loader(photos(folder, Split::test), {});
  check_mentions(message_of([&] { source->next(); }), {"2 images in a row", "a/y.png: empty file"});
}

TEST_CASE("photos: a file that disappears is one more") {
  TempFolder folder;
  write_photos(folder);
  const auto set = photos(folder);
  std::filesystem::remove(folder.path("train/cat/p1.JPEG"));
  CHECK(epoch_of(set, {.batch_size = 9})[0].y.numel() == 9);
  REQUIRE(set->unreadable().size() == 1);
  check_mentions(set->unreadable()[0].file, {"cat/p1.JPEG"});
  check_mentions(set->unreadable()[0].reason, {"cannot read", "No such file"});
}

TEST_CASE("photos: folders that are none are refused") {
  TempFolder folder;
  check_mentions(load_refusal(options_of(folder)),
                 {"imagenet", "no train", "hint", "pare data pack"});
  folder.write("val/a/x.png", png_of(pattern(4, 4)));
  check_mentions(load_refusal(options_of(folder)), {"there is no folder", "train"});
  CHECK(photos(folder, Split::test)->count() == 1);
  folder.write("train/b/x.txt", {1});
  check_mentions(load_refusal(options_of(folder)), {"no JPEG or PNG"});
  check_mentions(load_refusal(options_of(folder, Split::test)), {"val/a", "none of the 1 classes"});
  const auto refused = [&](const datasets::Augment& a) {
    return message_of([&] {
      TempFolder other;
      write_photos(other);
      datasets::loader(photos(other), {.augment = a});
    });
  };
  check_mentions(refused({.crop_pad = 4}), {"crop_pad", "got 4", "crop_area"});
  check_mentions(refused({.crop_area = 2}), {"crop_area", "0 .. 1"});
  check_mentions(refused({.rand_magnitude = 31}), {"rand_magnitude", "31"});
  check_mentions(refused({.mixup = -1}), {"mixup", "-1"});
}

TEST_CASE("photos: memory does not grow from epoch to epoch") {
#if defined(__SANITIZE_ADDRESS__)
  return;  // it keeps freed memory
#endif
  TempFolder folder;
  const Bytes jpeg = jpeg_of(scenery(300, 400));
  for (int i = 0; i < 24; ++i) folder.write("train/a/" + std::to_string(i) + ".jpg", jpeg);
  const auto source = datasets::loader(datasets::load(options_of(folder, Split::train, 64)),
                                       {.batch_size = 8, .augment = kAll, .threads = 2});
  const auto pages = [] {
    std::ifstream in("/proc/self/statm");
    int64_t total = 0, resident = 0;
    in >> total >> resident;
    return resident;
  };
  int64_t after_two = 0;
  for (int64_t epoch = 0; epoch < 10; ++epoch) {
    source->start(epoch);
    while (source->next()) {
    }
    if (epoch == 1) after_two = pages();
  }
  CHECK(pages() - after_two < 1024);  // 4 MB; one epoch's pixels, decoded, are 8 MB
}

TEST_CASE("photos: the given ten classes") {
  const std::string dir = real_data("imagenette128");
  if (dir.empty()) return;
  LoadOptions options{.name = "imagenet", .dir = dir, .split = Split::test, .limit = 200};
  options.photos = {.size = 128, .resize = 128};
  const auto set = datasets::load(options);
  CHECK(set->classes() == 10);
  std::set<int32_t> labels(set->labels.begin(), set->labels.end());
  CHECK(labels.size() == 10);
  double sum = 0, squares = 0, n = 0;
  for (const Batch& b : epoch_of(set, {.normalize = datasets::normalize_preset("imagenet")})) {
    for (float v : b.x.span()) sum += v, squares += v * v, ++n;
  }
  CHECK(set->unreadable().empty());
  CHECK(n == 200 * 128 * 128 * 3);
  CHECK(std::abs(sum / n) < 0.3);
  CHECK(std::abs(squares / n - 1.2) < 0.4);
}
