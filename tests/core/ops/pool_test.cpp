#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include "core/autograd.h"
#include "core/kernels/ref.h"
#include "core/ops.h"
#include "tests/support/close.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

namespace {

/// One axis as its definition says, told apart from the formula in pool.cpp: windows are counted by
/// placing them.
kernels::PoolAxis axis(int64_t in, int kernel, int stride, int pad, bool ceil_mode) {
  kernels::PoolAxis a = {in, 0, kernel, stride, pad};
  for (int64_t start = -pad;; start += stride, ++a.out) {
    const bool fits = start + kernel <= in + pad;
    const bool hangs_over = ceil_mode && start < in && start + kernel - stride < in + pad;
    if (!fits && !hangs_over) return a;
  }
}

kernels::PoolGeometry geometry(const Tensor& x, const PoolOptions& o) {
  return {axis(x.dim(1), o.kernel.h, o.stride.h, o.pad.h, o.ceil_mode),
          axis(x.dim(2), o.kernel.w, o.stride.w, o.pad.w, o.ceil_mode), x.dim(3)};
}

struct Want {
  Shape shape;
  std::vector<double> max, avg, max_slope, avg_slope;
};

Want definition(const Tensor& x, const Tensor& dy, const PoolOptions& o) {
  const kernels::PoolGeometry g = geometry(x, o);
  const int64_t in = g.h.in * g.w.in * g.channels, out = g.h.out * g.w.out * g.channels;
  const size_t inputs = static_cast<size_t>(x.numel()),
               outputs = static_cast<size_t>(x.dim(0) * out);
  Want want{{x.dim(0), g.h.out, g.w.out, g.channels},
            std::vector<double>(outputs),
            std::vector<double>(outputs),
            std::vector<double>(inputs),
            std::vector<double>(inputs)};
  for (int64_t n = 0; n < x.dim(0); ++n) {
    const float *image = x.data() + n * in, *seed = dy.data() + n * out;
    const ref::MaxPool pool = ref::max_pool(image, g);
    for (int64_t i = 0; i < out; ++i) {
      const size_t o_at = static_cast<size_t>(i);
      want.max[static_cast<size_t>(n * out + i)] = double{pool.y[o_at]};
      want.max_slope[static_cast<size_t>(n * in + pool.input[o_at])] += double{seed[i]};
    }
    ref::for_each_tap(g, [&](int64_t oy, int64_t ox, int64_t iy, int64_t ix, int64_t) {
      const double count =
          ref::counted(g.h, oy, o.count_include_pad) * ref::counted(g.w, ox, o.count_include_pad);
      for (int64_t c = 0; c < g.channels; ++c) {
        const int64_t y_at = (oy * g.w.out + ox) * g.channels + c;
        const int64_t x_at = (iy * g.w.in + ix) * g.channels + c;
        want.avg[static_cast<size_t>(n * out + y_at)] += image[x_at] / count;
        want.avg_slope[static_cast<size_t>(n * in + x_at)] += seed[y_at] / count;
      }
    });
  }
  return want;
}

const std::vector<PoolOptions> kOptions = {
    {},
    {.kernel = 3, .stride = 2, .pad = 1},
    {.kernel = 3, .stride = 2, .ceil_mode = true},
    {.kernel = 3, .stride = 2, .pad = 1, .ceil_mode = true},
    {.kernel = 2, .stride = 3, .pad = 1, .ceil_mode = true, .count_include_pad = false},
    {.kernel = {3, 2}, .stride = {1, 2}, .pad = {1, 0}, .count_include_pad = false},
    {.kernel = {1, 5}, .stride = {2, 4}, .pad = {0, 2}, .ceil_mode = true},
    {.kernel = 5, .stride = 1, .pad = 2},
};

}  // namespace

TEST_CASE("max and average pooling follow their definition") {
  for (const Shape& shape :
       {Shape{2, 8, 8, 3}, Shape{1, 7, 10, 16}, Shape{2, 5, 6, 21}, Shape{2, 21, 13, 320}}) {
    for (size_t i = 0; i < kOptions.size(); ++i) {
      CAPTURE(shape);
      CAPTURE(i);
      const PoolOptions& options = kOptions[i];
      Rng rng(i);
      Tensor x = Tensor::uniform(shape, rng, -2, -1);
      x.requires_grad_();
      const Tensor largest = max_pool2d(x, options);
      const Tensor dy = Tensor::uniform(largest.shape(), rng, -1, 1);
      const Want want = definition(x, dy, options);
      REQUIRE(largest.shape() == want.shape);
      CHECK(close(largest, want.max));
      largest.backward(dy);
      CHECK(close(x.grad(), want.max_slope, {.relative = 5e-7}));
      x.zero_grad();
      const Tensor average = avg_pool2d(x, options);
      REQUIRE(average.shape() == want.shape);
      CHECK(close(average, want.avg, {.relative = 5e-7}));
      average.backward(dy);
      CHECK(close(x.grad(), want.avg_slope, {.relative = 5e-7}));
    }
  }
}

TEST_CASE("max pooling: the first of equals, minus infinity and NaN") {
  Tensor x = Tensor::full({1, 2, 2, 1}, 3.0f).requires_grad_();
  max_pool2d(x, {}).backward(Tensor::full({1, 1, 1, 1}, 5.0f));
  CHECK(x.grad() == Tensor::of({5, 0, 0, 0}).view({1, 2, 2, 1}));

  const float inf = std::numeric_limits<float>::infinity();
  Tensor low = Tensor::full({1, 2, 2, 1}, -inf).requires_grad_();
  const Tensor y = max_pool2d(low, {.kernel = 2, .stride = 1, .pad = 1});
  CHECK(y == Tensor::full({1, 3, 3, 1}, -inf));
  y.backward(Tensor::ones(y.shape()));
  CHECK(sum(low.grad()).item() == 9);  // no gradient is lost in the padding

  Tensor nan = Tensor::of({1, std::nanf(""), 3, 4}).view({1, 2, 2, 1});
  CHECK(std::isnan(max_pool2d(nan, {}).item()));
}

TEST_CASE("a window of more than 256 inputs") {
  Rng rng(5);
  Tensor x = Tensor::uniform({1, 20, 20, 2}, rng).requires_grad_();
  const Tensor y = max_pool2d(x, {.kernel = 20, .stride = 1});
  CHECK(y.view({2}) == max(x.detach(), {0, 1, 2}));
  y.backward(Tensor::ones(y.shape()));
  CHECK(sum(x.grad()).item() == 2);
  CHECK(close(sum(x.grad() * x.detach(), {0, 1, 2}), y.detach().view({2})));
}

TEST_CASE("global average pooling is the mean over the image") {
  Rng rng(6);
  const Tensor x = Tensor::uniform({3, 4, 5, 7}, rng);
  CHECK(global_avg_pool2d(x).shape() == Shape{3, 1, 1, 7});
  CHECK(close(global_avg_pool2d(x), avg_pool2d(x, {.kernel = {4, 5}}), {.relative = 1e-6}));
}

TEST_CASE("pooling refuses what makes no window") {
  const Tensor x = Tensor::zeros({1, 4, 4, 2});
  const auto message = [&](const PoolOptions& o) {
    return message_of([&] { return max_pool2d(x, o); });
  };
  CHECK(contains(message({.kernel = 5}), "max_pool2d: the kernel 5x5 is larger than the input"));
  CHECK(contains(message({.kernel = 3, .pad = 2}), "got padding 2x2, expected 0 .. half"));
  CHECK(contains(message({.kernel = 2, .stride = 0}), "kernel and stride must be >= 1"));
  CHECK(contains(message_of([&] {
                   return avg_pool2d(x.view({4, 8}), {});
                 }),
                 "avg_pool2d: got [4, 8], expected [N, H, W, C]"));
  CHECK(contains(message_of([&] {
                   return global_avg_pool2d(x.view({4, 8}));
                 }),
                 "global_avg_pool2d: got [4, 8]"));
}
