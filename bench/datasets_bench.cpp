// The loader alone, with and without augmentation, and drawing the synthetic data set. One core
// unless said otherwise.

#include <benchmark/benchmark.h>

#include "core/parallel.h"
#include "datasets/datasets.h"

namespace pare::datasets {
namespace {

constexpr int64_t kImages = 10000;  // of CIFAR's size: 31 MB, more than fits a cache

std::shared_ptr<const ImageSet> random_images() {
  auto set = std::make_shared<PixelSet>(Shape{32, 32, 3}, std::vector<std::string>(10));
  set->labels.resize(kImages);
  set->pixels.resize(static_cast<size_t>(kImages * set->image.numel()));
  Rng rng(1);
  for (uint8_t& p : set->pixels) p = static_cast<uint8_t>(rng.next());
  return set;
}

void count_images(benchmark::State& state, int64_t images) {
  state.counters["images/s"] = {static_cast<double>(images), benchmark::Counter::kIsRate};
}

/// Args: prefetch, augmentation. With prefetch 0 the caller does the work: images/s of one core.
void loader_epoch(benchmark::State& state) {
  static const std::shared_ptr<const ImageSet> images = random_images();
  const bool augment = state.range(1) != 0;
  const auto source = loader(images, {.batch_size = 128,
                                      .shuffle = true,
                                      .augment = {.crop_pad = augment ? 4 : 0, .flip = augment},
                                      .normalize = normalize_preset("cifar10"),
                                      .prefetch = static_cast<int>(state.range(0))});
  int64_t epoch = 0, seen = 0;
  for (auto _ : state) {
    source->start(epoch++);
    for (auto& [x, y] : *source) {
      benchmark::DoNotOptimize(x.data());
      seen += y.numel();
    }
  }
  count_images(state, seen);
}
BENCHMARK(loader_epoch)
    ->ArgNames({"prefetch", "augment"})
    ->ArgsProduct({{0, 2}, {0, 1}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

/// Arg: threads.
void draw_synthetic(benchmark::State& state) {
  const int before = num_threads();
  set_num_threads(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    benchmark::DoNotOptimize(load({.name = "synthetic", .limit = 1000}).get());
  }
  set_num_threads(before);
  count_images(state, 1000 * state.iterations());
}
BENCHMARK(draw_synthetic)
    ->ArgName("threads")
    ->Arg(1)
    ->Arg(2)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace pare::datasets
