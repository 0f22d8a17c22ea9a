#include "datasets/pack.h"

#include "tests/datasets/photo_folder_for_test.h"

using namespace pare;
using namespace pare::test;
using datasets::LoadOptions;
using datasets::Split;

TEST_CASE("pack: the same pictures from one file") {
  TempFolder folder, out;
  write_photos(folder);
  const datasets::Packed packed =
      datasets::pack({.dir = folder.path(), .out = out.path("p"), .size = 0});
  CHECK(packed.path == out.path("p/train.pack"));
  CHECK(packed.pictures == 9);
  CHECK(packed.shrunk == 0);
  CHECK(packed.classes == 3);
  CHECK(static_cast<int64_t>(std::filesystem::file_size(packed.path)) == packed.bytes);
  LoadOptions options = options_of(folder);
  const datasets::LoaderOptions how{.batch_size = 4, .shuffle = true, .augment = kAll};
  const auto want = epoch_of(datasets::load(options), how);
  options.dir = out.path("p");
  const auto set = datasets::load(options);
  CHECK(set->class_names == std::vector<std::string>{"cat", "dog", "eel"});
  check_same_batches(epoch_of(set, how), want);
  check_mentions(message_of([&] { datasets::pack({.dir = folder.path(), .out = out.path("p")}); }),
                 {"train.pack", "already"});
}

TEST_CASE("pack: large pictures are shrunk and turned upright, bad ones left out") {
  TempFolder folder, out;
  folder.write("val/a/small.png", png_of(pattern(20, 30)));
  folder.write("val/a/turned.jpg", turned_jpeg(jpeg_of(scenery(60, 80)), 6, true));
  folder.write("val/b/bad.jpg", {1, 2, 3});
  folder.write("val/b/good.jpg", jpeg_of(scenery(90, 45, 2)));
  std::vector<int64_t> steps;
  const auto packed = datasets::pack({.dir = folder.path(),
                                      .out = out.path(),
                                      .split = Split::test,
                                      .size = 40,
                                      .progress = [&](int64_t done, int64_t of) {
                                        steps.push_back(done);
                                        CHECK(of == 4);
                                      }});
  CHECK(packed.pictures == 3);
  CHECK(packed.shrunk == 2);
  CHECK(steps == std::vector<int64_t>{4});
  REQUIRE(packed.left_out.size() == 1);
  CHECK(packed.left_out[0].file == "b/bad.jpg");
  std::filesystem::remove(folder.path("val/b/bad.jpg"));
  LoadOptions options = options_of(folder, Split::test, 32);
  const auto want = epoch_of(datasets::load(options), {.batch_size = 4})[0];
  options.dir = out.path();
  const auto got = epoch_of(datasets::load(options), {.batch_size = 4})[0];
  CHECK(got.y == want.y);
  double gap = 0;
  for (size_t i = 0; i < want.x.span().size(); ++i) {
    gap += std::abs(got.x.span()[i] - want.x.span()[i]) / static_cast<float>(want.x.numel());
  }
  CHECK(gap < 0.01);
}

TEST_CASE("pack: damage is told, and nothing half-done is left") {
  TempFolder folder, out;
  write_photos(folder);
  const std::string path =
      datasets::pack({.dir = folder.path(), .out = out.path(), .size = 0}).path;
  const auto size = std::filesystem::file_size(path);
  LoadOptions options = options_of(folder);
  options.dir = out.path();
  std::ifstream in(path, std::ios::binary);
  const Bytes whole{std::istreambuf_iterator<char>(in), {}};
  Bytes index = whole;
  index[index.size() - 60] ^= 1;
  out.write("train.pack", index);
  check_mentions(load_refusal(options), {"train.pack", "index is damaged"});
  out.write("train.pack", whole);
  out.truncate("train.pack", size - 1);
  check_mentions(load_refusal(options), {"not a pack, or cut off"});
  out.truncate("train.pack", 10);
  check_mentions(load_refusal(options), {"10 bytes"});
  TempFolder empty;
  check_mentions(message_of([&] {
                   datasets::pack({.dir = folder.path(),
                                   .out = empty.path(),
                                   .progress = [](int64_t, int64_t) { throw Error("enough"); }});
                 }),
                 {"enough"});
  CHECK(std::filesystem::is_empty(empty.path()));
}
