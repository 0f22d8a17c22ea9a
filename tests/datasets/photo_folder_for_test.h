#pragma once
// A folder of small pictures, and what a loader makes of it.

#include <memory>
#include <string>
#include <vector>

#include "core/batch.h"
#include "tests/datasets/pictures_for_test.h"

namespace pare::test {

/// Three classes with 4, 3 and 2 training and 2, 2 and 1 test pictures of different sizes.
inline void write_photos(const TempFolder& folder) {
  const char* classes[] = {"cat", "dog", "eel"};
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 4 - c + 2 - c / 2; ++i) {
      const bool train = i < 4 - c;
      const Bitmap x = scenery(40 + 7 * i, 60 - 5 * c, 10 * c + i);
      const std::string name = std::string(train ? "train/" : "val/") + classes[c] + "/p" +
                               std::to_string(i) + (i % 2 ? ".JPEG" : ".png");
      folder.write(name, i % 2 ? jpeg_of(x) : png_of(x));
    }
  }
}

inline datasets::LoadOptions options_of(const TempFolder& folder,
                                        datasets::Split split = datasets::Split::train,
                                        int64_t size = 16) {
  return {.name = "imagenet", .dir = folder.path(), .split = split, .photos = {.size = size}};
}

inline std::shared_ptr<const datasets::ImageSet> photos(
    const TempFolder& folder, datasets::Split split = datasets::Split::train) {
  return datasets::load(options_of(folder, split));
}

inline const datasets::Augment kAll{
    .flip = true, .crop_area = 0.2f, .jitter = 0.4f, .rand_ops = 2, .rand_magnitude = 15};

inline std::vector<Batch> epoch_of(const std::shared_ptr<const datasets::ImageSet>& set,
                                   const datasets::LoaderOptions& options, int64_t epoch = 0) {
  const auto source = datasets::loader(set, options);
  source->start(epoch);
  std::vector<Batch> all;
  for (Batch& b : *source) all.push_back(b);
  return all;
}

inline void check_same_batches(const std::vector<Batch>& got, const std::vector<Batch>& want) {
  REQUIRE(got.size() == want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    CHECK(got[i].x == want[i].x);
    CHECK(got[i].y == want[i].y);
  }
}

inline std::string load_refusal(const datasets::LoadOptions& options) {
  return message_of([&] { datasets::load(options); });
}

}  // namespace pare::test
