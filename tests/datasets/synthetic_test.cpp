#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "core/autograd.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "datasets/datasets.h"
#include "tests/datasets/files_for_test.h"

using namespace pare;
using namespace pare::test;
using datasets::PixelSet;
using datasets::Split;

namespace {

std::shared_ptr<const PixelSet> draw(Split split, int64_t count, uint64_t seed = 0) {
  return load_pixels({.split = split, .seed = seed, .limit = count});
}

/// Softmax regression on pixels: z = x w^T + b.
struct LinearModel {
  Tensor w = Tensor::zeros({10, 3072}).requires_grad_(), b = Tensor::zeros({10}).requires_grad_();

  Tensor operator()(const Tensor& x) const { return linear(x.reshape({x.dim(0), 3072}), w, b); }

  void fit(BatchSource& source, int epochs, float lr) {
    set_num_threads(1);  // the steps are too small to share
    for (int epoch = 0; epoch < epochs; ++epoch) {
      source.start(epoch);
      for (auto& [x, y] : source) {
        cross_entropy((*this)(x), y).backward();
        for (Tensor* p : {&w, &b}) {
          const Tensor step = no_grad([&] { return p->detach() - lr * p->grad(); });
          p->copy_(step);
          p->zero_grad();
        }
      }
    }
    set_num_threads(0);
  }

  /// Percent right.
  double accuracy(BatchSource& source) const {
    NoGrad guard;
    int64_t right = 0, all = 0;
    source.start(0);
    for (auto& [x, y] : source) {
      const Tensor z = (*this)(x);
      for (int64_t i = 0; i < z.dim(0); ++i, ++all) {
        const float* row = z.data() + 10 * i;
        right += std::max_element(row, row + 10) - row == static_cast<int64_t>(y.at({i}));
      }
    }
    return 100.0 * static_cast<double>(right) / static_cast<double>(all);
  }
};

std::unique_ptr<BatchSource> batches(std::shared_ptr<const PixelSet> set) {
  return datasets::loader(
      std::move(set),
      {.batch_size = 50, .shuffle = true, .normalize = datasets::normalize_preset("synthetic")});
}

}  // namespace

TEST_CASE("synthetic: default sizes, balanced classes") {
  const auto test = load_pixels({.split = Split::test});
  CHECK(test->count() == 2000);
  CHECK(test->image == Shape{32, 32, 3});
  CHECK(test->classes() == 10);
  CHECK(test->class_names[5] == "star");
  for (int label = 0; label < 10; ++label) {
    CHECK(std::count(test->labels.begin(), test->labels.end(), label) == 200);
  }
}

TEST_CASE("synthetic: the same for any number of threads, the first n of more") {
  set_num_threads(1);
  const auto want = draw(Split::train, 200);
  for (int threads : {2, 5}) {
    set_num_threads(threads);
    const auto got = draw(Split::train, 300);
    CHECK(got->count() == 300);
    CHECK(std::equal(want->pixels.begin(), want->pixels.end(), got->pixels.begin()));
    CHECK(std::equal(want->labels.begin(), want->labels.end(), got->labels.begin()));
  }
  set_num_threads(0);
}

TEST_CASE("synthetic: seeds, splits and images differ") {
  const auto a = draw(Split::train, 100), b = draw(Split::train, 100, 1);
  const auto c = draw(Split::test, 100);
  CHECK(a->pixels != b->pixels);
  CHECK(a->pixels != c->pixels);
  std::set<std::string> images;
  for (const auto& set : {a, b, c}) {
    for (auto at = set->pixels.begin(); at != set->pixels.end(); at += 3072) {
      images.emplace(at, at + 3072);
    }
  }
  CHECK(images.size() == 300);
}

TEST_CASE("synthetic: the preset centres and scales the pixels") {
  const auto set = draw(Split::train, 1000);
  double sum = 0, squares = 0;
  const auto source = batches(set);
  for (auto& [x, y] : *source) {
    for (float v : x.span()) sum += v, squares += v * v;
  }
  const auto n = static_cast<double>(set->pixels.size());
  CHECK(std::abs(sum / n) < 0.1);
  CHECK(std::abs(squares / n - 1) < 0.1);
}

TEST_CASE("synthetic: a linear model on pixels stays far below 60 %") {
  const auto train = batches(draw(Split::train, 4000)), test = batches(draw(Split::test, 1000));
  LinearModel model;
  model.fit(*train, 12, 0.003f);
  const double seen = model.accuracy(*train), unseen = model.accuracy(*test);
  CAPTURE(seen);
  CHECK(unseen < 40);  // 60 is the promise; chance is 10
  CHECK(seen > 25);    // the fit itself works: it learns by heart what it has seen
}

TEST_CASE("synthetic: the linear bound is about the images, not about the fit") {
  // The same model and the same fit, told to find out how bright an image is.
  const auto relabeled = [](Split split, int64_t count) {
    auto set = std::make_shared<PixelSet>(*draw(split, count));
    for (size_t i = 0; i < set->labels.size(); ++i) {
      int64_t sum = 0;
      for (size_t k = 0; k < 3072; ++k) sum += set->pixels[i * 3072 + k];
      set->labels[i] = sum > 3072 * 130;
    }
    return batches(set);
  };
  const auto train = relabeled(Split::train, 2000), test = relabeled(Split::test, 500);
  LinearModel model;
  model.fit(*train, 3, 0.003f);
  CHECK(model.accuracy(*test) > 80);
}
