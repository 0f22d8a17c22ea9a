// Decoding and augmenting photographs, on one core: those in PARE_PHOTOS (a folder with train/ or
// val/), else drawn ones of the usual size.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "datasets/codecs.h"
#include "datasets/photo.h"
#include "datasets/resize.h"

namespace pare::datasets {
namespace {

std::vector<uint8_t> drawn_photo(uint64_t seed) {
  constexpr int64_t kHeight = 375, kWidth = 500;
  Bitmap image(kHeight, kWidth);
  Rng rng(seed);
  for (int64_t i = 0; i < kHeight; ++i) {
    for (int64_t j = 0; j < kWidth; ++j) {
      uint8_t* p = image.row(i) + 3 * j;
      for (int64_t c = 0; c < 3; ++c) {
        p[c] = static_cast<uint8_t>((i * (c + 1) + j / (c + 1) + rng.below(24)) / 3 % 256);
      }
    }
  }
  return stb::encode_jpeg(image, 90);
}

const std::vector<std::vector<uint8_t>>& photos() {
  static const auto all = [] {
    std::vector<std::vector<uint8_t>> files;
    if (const char* dir = std::getenv("PARE_PHOTOS")) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
        if (!entry.is_regular_file() || entry.path().extension() != ".JPEG") continue;
        const std::string bytes = read_file(entry.path().string());
        files.emplace_back(bytes.begin(), bytes.end());
      }
    }
    for (uint64_t seed = 0; files.size() < 8; ++seed) files.push_back(drawn_photo(seed));
    return files;
  }();
  return all;
}

/// f(file) once for each photograph, as often as the clock wants.
template <class F>
void each_photo(benchmark::State& state, const std::string& decoder, F&& f) {
  const auto& all = photos();
  size_t next = 0;
  for (auto _ : state) f(all[next++ % all.size()]);
  state.SetLabel(decoder);
  state.counters["images/s"] = {static_cast<double>(state.iterations()),
                                benchmark::Counter::kIsRate};
}

/// All pixels.
void decode_photo(benchmark::State& state) {
  each_photo(state, jpeg_decoder(), [](const auto& file) {
    benchmark::DoNotOptimize(Photo(file).decode().pixels.data());
  });
}
BENCHMARK(decode_photo)->Unit(benchmark::kMillisecond);

void decode_photo_stb(benchmark::State& state) {
  each_photo(state, "stb_image",
             [](const auto& file) { benchmark::DoNotOptimize(stb::decode(file).pixels.data()); });
}
BENCHMARK(decode_photo_stb)->Unit(benchmark::kMillisecond);

/// From 375 x 500 to 224 x 224. Arg: filter.
void resize_photo(benchmark::State& state) {
  const Bitmap image = Photo(photos().front()).decode();
  const Box all{0, 0, static_cast<double>(image.height), static_cast<double>(image.width)};
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        resize(image, all, {224, 224, static_cast<Filter>(state.range(0))}).pixels.data());
  }
}
BENCHMARK(resize_photo)->ArgName("bicubic")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

/// What a training image costs, from its file's bytes in the page cache to normalized values.
void photo_loader(benchmark::State& state) {
  const char* dir = std::getenv("PARE_PHOTOS");
  if (!dir) {
    state.SkipWithError("PARE_PHOTOS is not set");
    return;
  }
  const Split split = has_split(dir, Split::train) ? Split::train : Split::test;
  const Augment train{.flip = true, .crop_area = 0.08f};
  const auto source = loader(
      load({.name = "imagenet", .dir = dir, .split = split, .photos = {.size = state.range(0)}}),
      {.batch_size = 16,
       .shuffle = true,
       .augment = state.range(1) ? train : Augment{},
       .normalize = normalize_preset("imagenet"),
       .prefetch = 0});
  int64_t epoch = 0, seen = 0;
  for (auto _ : state) {
    source->start(epoch++);
    for (auto& [x, y] : *source) seen += y.numel();
  }
  state.SetLabel(jpeg_decoder());
  state.counters["images/s"] = {static_cast<double>(seen), benchmark::Counter::kIsRate};
}
BENCHMARK(photo_loader)
    ->ArgNames({"size", "augment"})
    ->ArgsProduct({{128, 224}, {0, 1}})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace pare::datasets
