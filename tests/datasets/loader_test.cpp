#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <numeric>

#include "core/parallel.h"
#include "datasets/augment.h"
#include "datasets/datasets.h"
#include "datasets/prefetch.h"
#include "tests/datasets/files_for_test.h"

using namespace pare;
using namespace pare::test;
using datasets::LoaderOptions;
using datasets::Normalize;
using datasets::PixelSet;
using datasets::View;

namespace {

/// Random bytes; the first pixel value of image i is i and its label i % 10.
std::shared_ptr<const PixelSet> random_images(int64_t count, const Shape& image) {
  auto set = std::make_shared<PixelSet>(image, std::vector<std::string>(10));
  Rng rng(5);
  for (int64_t i = 0; i < count * image.numel(); ++i) {
    set->pixels.push_back(static_cast<uint8_t>(rng.below(256)));
  }
  for (int64_t i = 0; i < count; ++i) {
    set->pixels[static_cast<size_t>(i * image.numel())] = static_cast<uint8_t>(i);
    set->labels.push_back(static_cast<int32_t>(i % 10));
  }
  return set;
}

std::vector<Batch> take_all(BatchSource& source) {
  std::vector<Batch> all;
  for (Batch& b : source) all.push_back(b);
  return all;
}

void check_same(const std::vector<Batch>& got, const std::vector<Batch>& want, size_t skip = 0) {
  REQUIRE(got.size() + skip == want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    CHECK(got[i].x == want[i + skip].x);
    CHECK(got[i].y == want[i + skip].y);
  }
}

const LoaderOptions kAugmented{.batch_size = 8,
                               .shuffle = true,
                               .augment = {.crop_pad = 2, .flip = true},
                               .normalize = {{0.4f, 0.5f, 0.6f}, {0.2f, 0.3f, 0.4f}},
                               .seed = 3};

/// The definition: pad with zero pixels, cut the window, mirror, normalize.
float naive_pixel(const uint8_t* x, const Shape& s, const View& v, const Normalize& n, int64_t i,
                  int64_t j, int64_t c) {
  const int64_t row = i + v.dy, column = (v.flip ? s[1] - 1 - j : j) + v.dx;
  const bool inside = row >= 0 && row < s[0] && column >= 0 && column < s[1];
  const float value = inside ? x[(row * s[1] + column) * s[2] + c] : 0.0f;
  const auto k = static_cast<size_t>(c);
  return (value / 255.0f - n.mean[k]) / n.std[k];
}

}  // namespace

TEST_CASE("augment: every window and mirror image equals its definition") {
  const Normalize normalize{{0.1f, 0.2f, 0.3f}, {0.5f, 0.6f, 0.7f}};
  const datasets::LookupTable table = datasets::lookup_table(normalize);
  for (const Shape& image : {Shape{5, 7, 3}, Shape{6, 4, 1}}) {
    const auto set = random_images(1, image);
    for (int dy = -7; dy <= 7; ++dy) {
      for (int dx = -8; dx <= 8; ++dx) {
        for (bool flip : {false, true}) {
          const View view{dy, dx, flip};
          std::vector<float> y(static_cast<size_t>(image.numel()), -99.0f), want;
          datasets::place(set->pixels.data(), image, view, table, y.data());
          for (int64_t i = 0; i < image[0]; ++i) {
            for (int64_t j = 0; j < image[1]; ++j) {
              for (int64_t c = 0; c < image[2]; ++c) {
                want.push_back(naive_pixel(set->pixels.data(), image, view, normalize, i, j, c));
              }
            }
          }
          CHECK(y == want);
        }
      }
    }
  }
}

TEST_CASE("augment: views are uniform over windows and mirrors") {
  constexpr int kPad = 1, kDraws = 18000;
  std::array<int, 18> seen{};  // 3 x 3 windows, mirrored or not
  const Rng rng(11);
  for (uint64_t i = 0; i < kDraws; ++i) {
    Rng stream = rng.split(i);
    const View v = datasets::random_view(kPad, true, stream);
    REQUIRE(std::max(std::abs(v.dy), std::abs(v.dx)) <= kPad);
    ++seen[static_cast<size_t>((v.dy + 1) * 6 + (v.dx + 1) * 2 + v.flip)];
  }
  // Expected 1000 each with deviation 31: five deviations.
  for (int n : seen) CHECK(std::abs(n - kDraws / 18) < 155);
  Rng still(1);
  const View v = datasets::random_view(0, false, still);
  CHECK((v.dy == 0 && v.dx == 0 && !v.flip));
}

TEST_CASE("loader: plain batches are the images in order") {
  const auto set = random_images(21, {4, 3, 3});
  const Normalize n = datasets::normalize_preset("imagenet");
  const auto source = datasets::loader(set, {.batch_size = 8, .normalize = n});
  CHECK(source->samples() == 21);
  CHECK(source->batches() == 3);
  CHECK(source->classes() == 10);
  CHECK(source->image_shape() == Shape{4, 3, 3});
  const std::vector<Batch> all = take_all(*source);  // begins with epoch 0 by itself
  REQUIRE(all.size() == 3);
  CHECK(all[2].x.shape() == Shape{5, 4, 3, 3});
  CHECK(all[2].y.shape() == Shape{5});
  for (int64_t i = 0; i < 21; ++i) {
    const Batch& b = all[static_cast<size_t>(i / 8)];
    CHECK(b.y.at({i % 8}) == static_cast<float>(i % 10));
    for (int64_t k = 0; k < 36; ++k) {
      const auto c = static_cast<size_t>(k % 3);
      const float v = set->pixels[static_cast<size_t>(i * 36 + k)];
      CHECK(b.x.data()[i % 8 * 36 + k] == (v / 255.0f - n.mean[c]) / n.std[c]);
    }
  }
  CHECK(!source->next());
  CHECK(!source->next());
}

TEST_CASE("loader: an epoch holds every image once, each epoch in another order") {
  const auto set = random_images(101, {2, 2, 1});
  const auto source = datasets::loader(set, {.batch_size = 10, .shuffle = true, .seed = 1});
  std::vector<std::vector<int>> orders;
  for (int64_t epoch : {0, 1, 2}) {
    source->start(epoch);
    std::vector<int> order;
    for (auto& [x, y] : *source) {
      for (int64_t i = 0; i < x.dim(0); ++i) {
        order.push_back(static_cast<int>(std::lround(x.at({i, 0, 0, 0}) * 255)));
        CHECK(y.at({i}) == static_cast<float>(order.back() % 10));
      }
    }
    std::vector<int> sorted = order, all(101);
    std::sort(sorted.begin(), sorted.end());
    std::iota(all.begin(), all.end(), 0);
    CHECK(sorted == all);
    CHECK(order != all);
    orders.push_back(order);
  }
  CHECK(orders[0] != orders[1]);
  CHECK(orders[1] != orders[2]);
}

TEST_CASE("loader: drop_last leaves out the rest") {
  const auto set = random_images(21, {2, 2, 1});
  const auto source = datasets::loader(set, {.batch_size = 8, .drop_last = true});
  CHECK(source->samples() == 16);
  CHECK(source->batches() == 2);
  CHECK(take_all(*source).size() == 2);
  const auto none = datasets::loader(set, {.batch_size = 22, .drop_last = true});
  CHECK(none->batches() == 0);
  CHECK(take_all(*none).empty());
}

TEST_CASE("loader: batches depend on seed, epoch and index alone") {
  const auto set = random_images(60, {6, 6, 3});
  LoaderOptions options = kAugmented;
  options.prefetch = 0;
  const auto plain = datasets::loader(set, options);
  plain->start(4);
  const std::vector<Batch> want = take_all(*plain);
  REQUIRE(want.size() == 8);

  SUBCASE("for any prefetch and number of threads") {
    for (int threads : {1, 2, 5}) {
      set_num_threads(threads);
      options.threads = threads;
      for (int prefetch : {0, 1, 2, 100}) {
        options.prefetch = prefetch;
        const auto source = datasets::loader(set, options);
        source->start(4);
        check_same(take_all(*source), want);
      }
    }
    set_num_threads(0);
  }
  SUBCASE("wherever the epoch is entered, however it was left before") {
    for (int prefetch : {0, 3}) {
      options.prefetch = prefetch;
      const auto source = datasets::loader(set, options);
      source->start(1);
      source->next();
      for (int64_t first = 0; first <= 8; ++first) {
        source->start(4, first);
        check_same(take_all(*source), want, static_cast<size_t>(first));
        CHECK(!source->next());
      }
    }
  }
  SUBCASE("and change with seed and epoch") {
    plain->start(5);
    CHECK(!(take_all(*plain)[0].x == want[0].x));
    options.seed = 4;
    const auto other = datasets::loader(set, options);
    other->start(4);
    CHECK(!(take_all(*other)[0].x == want[0].x));
  }
}

TEST_CASE("loader: augmentation of an image does not depend on its place in the batch") {
  const auto set = random_images(24, {6, 6, 3});
  LoaderOptions options = kAugmented;
  options.shuffle = false;
  options.batch_size = 24;
  const auto whole = datasets::loader(set, options);
  const Tensor x = whole->next()->x;
  options.batch_size = 5;
  int64_t at = 0;
  const auto parts = datasets::loader(set, options);
  for (auto& [part, y] : *parts) {
    for (int64_t i = 0; i < part.numel(); ++i) CHECK(part.data()[i] == x.data()[at + i]);
    at += part.numel();
  }
  CHECK(at == x.numel());
}

TEST_CASE("loader: destroyed or restarted in mid-epoch") {
  const auto set = random_images(200, {6, 6, 3});
  LoaderOptions options = kAugmented;
  for (int round = 0; round < 20; ++round) {
    options.prefetch = 1 + round % 3;
    const auto source = datasets::loader(set, options);
    source->start(round);
    for (int i = 0; i < round % 4; ++i) CHECK(source->next());
    source->start(round + 1, 20);
    if (round % 2) CHECK(source->next());
  }
}

TEST_CASE("loader: wrong options are refused") {
  const auto set = random_images(10, {2, 2, 3});
  const auto message = [&](const LoaderOptions& o) {
    return message_of([&] { datasets::loader(set, o); });
  };
  check_mentions(message({.batch_size = 0}), {"batch_size", "got 0"});
  check_mentions(message({.augment = {.crop_pad = -1}}), {"crop_pad", "got -1"});
  check_mentions(message({.prefetch = -2}), {"prefetch", "got -2"});
  check_mentions(message({.normalize = {{}, {1, 0, 1}}}), {"std", "got 0"});
  check_mentions(message_of([&] {
                   datasets::loader(random_images(2, {2, 2, 2}), {});
                 }),
                 {"[2, 2, 2]", "expected [H, W, 1] or [H, W, 3]"});
  auto broken = std::make_shared<PixelSet>(*set);
  broken->pixels.pop_back();
  check_mentions(message_of([&] { datasets::loader(broken, {}); }), {"119", "10 images"});
  const auto source = datasets::loader(set, {.batch_size = 4});
  check_mentions(message_of([&] { source->start(0, 4); }), {"batch 4", "epoch with 3"});
  check_mentions(message_of([&] { source->start(-1); }), {"epoch", "-1"});
}

namespace {

/// Three pieces; its batch holds its number. Batch `broken` throws in a piece or at the end.
struct TestJob final : datasets::Job {
  TestJob(int64_t batch, int64_t broken, bool late) : index(batch), bad(broken), at_end(late) {}
  int64_t pieces() const override { return 3; }
  void work(int64_t piece) override {
    PARE_CHECK(index != bad || at_end || piece != 1, "batch ", index, " is broken");
    ++done;
  }
  Batch finish() override {
    PARE_CHECK(index != bad, "batch ", index, " is broken");
    CHECK(done == 3);
    return {Tensor::scalar(static_cast<float>(index)), {}};
  }
  int64_t index, bad;
  bool at_end;
  std::atomic<int> done = 0;
};

}  // namespace

TEST_CASE("prefetch: in order, then what a job throws, for good") {
  for (int threads : {1, 2, 4}) {
    for (bool late : {false, true}) {
      datasets::Prefetch prefetch([&](int64_t i) { return std::make_unique<TestJob>(i, 5, late); },
                                  2, 10, 2, threads);
      for (float want : {2.0f, 3.0f, 4.0f}) CHECK(prefetch.next()->x.item() == want);
      for (int again = 0; again < 2; ++again) {
        CHECK(message_of([&] { prefetch.next(); }) == "batch 5 is broken");
      }
    }
  }
  datasets::Prefetch broken(
      [](int64_t) -> std::unique_ptr<datasets::Job> { throw Error("no job"); }, 0, 3, 2, 2);
  CHECK(message_of([&] { broken.next(); }) == "no job");
}

TEST_CASE("prefetch: no more than asked for is prepared ahead") {
  for (int threads : {1, 3}) {
    std::atomic<int> made = 0;
    datasets::Prefetch prefetch(
        [&](int64_t i) {
          ++made;
          return std::make_unique<TestJob>(i, -1, false);
        },
        0, 100, 3, threads);
    for (int taken = 1; taken <= 5; ++taken) {
      REQUIRE(prefetch.next());
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      CHECK(made <= taken + 3);
    }
  }
}
