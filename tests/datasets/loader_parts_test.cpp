// Batches that several processes share, and views that repeat.

#include <doctest/doctest.h>

#include "datasets/datasets.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

namespace {

datasets::LoaderOptions options(int rank, int ranks) {
  return {.batch_size = 10,
          .shuffle = true,
          .augment = {.crop_pad = 2, .flip = true},
          .seed = 5,
          .rank = rank,
          .ranks = ranks};
}

std::vector<float> values(const Tensor& t) { return {t.span().begin(), t.span().end()}; }

}  // namespace

TEST_CASE("loader: the parts of all processes, one after the other, are the whole batch") {
  const auto images = datasets::load({.name = "synthetic", .limit = 37});
  for (const int ranks : {2, 3, 7}) {
    const auto whole = datasets::loader(images, options(0, 1));
    std::vector<std::unique_ptr<BatchSource>> parts;
    for (int rank = 0; rank < ranks; ++rank) {
      parts.push_back(datasets::loader(images, options(rank, ranks)));
      parts.back()->start(3, 1);
      CHECK(parts.back()->batches() == 4);
      CHECK(parts.back()->samples() == 37);
    }
    whole->start(3, 1);
    for (int i = 0; i < 3; ++i) {
      const Batch want = whole->next().value();
      std::vector<float> x, y;
      for (const auto& part : parts) {
        const Batch b = part->next().value();
        CHECK(b.x.dim(0) >= want.x.dim(0) / ranks);
        CHECK(b.x.dim(0) <= want.x.dim(0) / ranks + 1);
        x.insert(x.end(), b.x.span().begin(), b.x.span().end());
        y.insert(y.end(), b.y.span().begin(), b.y.span().end());
      }
      CHECK(x == values(want.x));
      CHECK(y == values(want.y));
    }
    for (const auto& part : parts) CHECK_FALSE(part->next());
  }
}

TEST_CASE("loader: every process has images, and batches too small for that are refused") {
  const auto images = datasets::load({.name = "synthetic", .limit = 32});
  const auto part = datasets::loader(images, options(1, 3));  // the last two images are left out
  CHECK(part->batches() == 3);
  CHECK(part->samples() == 30);
  const auto message = [&](int rank, int ranks) {
    return message_of([&] { datasets::loader(images, options(rank, ranks)); });
  };
  CHECK(contains(message(0, 11), "a batch of 10 images cannot be shared by 11 processes"));
  CHECK(contains(message(2, 2), "there is no process 2 of 2"));
}

TEST_CASE("loader: with a number of views each image looks the same after as many epochs") {
  const auto images = datasets::load({.name = "synthetic", .limit = 30});
  datasets::LoaderOptions o{
      .batch_size = 30, .augment = {.crop_pad = 2, .flip = true}, .views = 3, .seed = 5};
  const auto source = datasets::loader(images, o);
  const auto epoch = [&](int64_t e) {
    source->start(e);
    return values(source->next().value().x);
  };
  const std::vector<float> first = epoch(1);
  CHECK(epoch(4) == first);
  CHECK(epoch(2) != first);
  CHECK(epoch(3) != first);
  o.seed = 6;
  const auto other = datasets::loader(images, o);
  other->start(1);
  CHECK(values(other->next().value().x) == first);  // not shuffled, so in the same order
  o.views = -1;
  CHECK(contains(message_of([&] { datasets::loader(images, o); }), "views must be >= 0"));
}
