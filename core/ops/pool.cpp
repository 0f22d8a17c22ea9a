// Pooling over H and W of x [N, H, W, C].
//   max  y = the largest of a window, the first one of equals    dx = dy where it was found
//   avg  y = sum over the window / positions counted             dx = sum over windows of dy /
//   positions
// OH = (H + 2 pad - kernel) / stride + 1, rounded up in ceil_mode, but the last window starts
// inside the input or the padding before it.

#include "core/kernels/pool.h"

#include <memory>

#include "core/alloc.h"
#include "core/autograd.h"
#include "core/deferred.h"
#include "core/error.h"
#include "core/ops.h"
#include "core/ops/common.h"
#include "core/ops/show.h"
#include "core/scratch.h"

namespace pare {

namespace {

using kernels::PoolAxis;
using kernels::PoolGeometry;

PoolAxis axis(int64_t in, int kernel, int stride, int pad, bool ceil_mode) {
  const int64_t room = in + 2 * pad - kernel;
  int64_t out = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  if (ceil_mode && (out - 1) * stride >= in + pad) --out;
  return {in, out, kernel, stride, pad};
}

PoolGeometry geometry(const char* op, const Tensor& x, const PoolOptions& o) {
  PARE_CHECK(x.dims() == 4, op, ": got ", x.shape(), ", expected [N, H, W, C]");
  PARE_CHECK(o.kernel.h >= 1 && o.kernel.w >= 1 && o.stride.h >= 1 && o.stride.w >= 1, op,
             ": kernel and stride must be >= 1, got ", o.kernel.h, "x", o.kernel.w, " and ",
             o.stride.h, "x", o.stride.w);
  PARE_CHECK(o.pad.h >= 0 && o.pad.w >= 0 && 2 * o.pad.h <= o.kernel.h && 2 * o.pad.w <= o.kernel.w,
             op, ": got padding ", o.pad.h, "x", o.pad.w, ", expected 0 .. half of the kernel ",
             o.kernel.h, "x", o.kernel.w);
  PARE_CHECK(x.dim(1) + 2 * o.pad.h >= o.kernel.h && x.dim(2) + 2 * o.pad.w >= o.kernel.w, op,
             ": the kernel ", o.kernel.h, "x", o.kernel.w,
             " is larger than the input with padding ", o.pad.h, "x", o.pad.w, operand("x", x));
  return {axis(x.dim(1), o.kernel.h, o.stride.h, o.pad.h, o.ceil_mode),
          axis(x.dim(2), o.kernel.w, o.stride.w, o.pad.w, o.ceil_mode), x.dim(3)};
}

/// f(image, row) for `rows` rows of `width` elements each in every image.
template <class F>
void for_rows(int64_t images, int64_t rows, int64_t width, F&& f) {
  parallel_for(images * rows, rows_per_task(width), [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) f(i / rows, i % rows);
  });
}

/// Output rows [first, first + count) of one image as a problem of their own, over the input rows
/// [begin, begin + rows.h.in) that they see.
struct PoolBand {
  PoolGeometry rows;
  int64_t begin;

  PoolBand(const PoolGeometry& g, int64_t first, int64_t count) : rows(g) {
    begin = g.h.inputs(first).begin;
    rows.h.in = std::max(g.h.inputs(first + count - 1).end, begin) - begin;
    rows.h.out = count;
    rows.h.pad = g.h.pad + begin - first * g.h.stride;
  }
};

/// Output rows of a band: enough for the input rows that two bands share not to matter.
constexpr int64_t kBandRows = 8;

/// dx = dy where the maximum was found. A batch norm before the pooling takes its sums from the
/// blocks, some rows of an image each.
template <class Tap>
struct MaxPoolGradient final : Deferred {
  Tensor dy;
  std::shared_ptr<Buffer> taps;
  PoolGeometry g;
  int64_t images, band;  // rows of a block

  MaxPoolGradient(const Tensor& grad, std::shared_ptr<Buffer> found, const PoolGeometry& geometry)
      : dy(grad), taps(std::move(found)), g(geometry), images(grad.dim(0)) {
    constexpr int64_t kFloats = 32 * 1024;  // beside what a visitor reads they stay in L2
    band = std::clamp<int64_t>(kFloats / std::max<int64_t>(g.w.in * g.channels, 1), 1, g.h.in);
  }

  int64_t bands() const { return (g.h.in + band - 1) / band; }
  int64_t blocks() const override { return images * bands(); }
  void run(float* dx) const override { run_blocks(dx, nullptr); }
  void run(float* dx, BlockVisitor visit) const override { run_blocks(dx, &visit); }

 private:
  void run_blocks(float* dx, const BlockVisitor* visit) const {
    const int64_t line = g.w.in * g.channels, out_image = g.h.out * g.w.out * g.channels;
    const float* from = dy.data();
    const Tap* tap = reinterpret_cast<const Tap*>(taps->data());
    parallel_for(blocks(), 1, [&](Range r) {
      for (int64_t i = r.begin; i < r.end; ++i) {
        const int64_t n = i / bands(), first = i % bands() * band;
        const int64_t last = std::min(first + band, g.h.in);
        float* to = dx + (n * g.h.in + first) * line;
        for (int64_t iy = first; iy < last; ++iy) {
          kernels::max_pool_grad(from + n * out_image, tap + n * out_image, g, iy,
                                 to + (iy - first) * line);
        }
        if (visit) (*visit)({i, (n * g.h.in + first) * g.w.in, (last - first) * g.w.in, to});
      }
    });
  }
};

template <class Tap>
Tensor max_pool(const Tensor& x, const PoolGeometry& g, const PoolOptions& o) {
  const int64_t images = x.dim(0);
  const int64_t out_row = g.w.out * g.channels, out_image = g.h.out * out_row;
  Tensor y = Tensor::uninit({images, g.h.out, g.w.out, g.channels});
  std::shared_ptr<Buffer> taps;
  if (grad_enabled() && x.requires_grad()) {
    const size_t bytes = static_cast<size_t>(y.numel()) * sizeof(Tap);
    taps = std::make_shared<Buffer>((bytes + sizeof(float) - 1) / sizeof(float));
  }
  const auto pending = x.pending();  // the source points into it
  const kernels::Source source = source_of(x);
  float* py = y.data();
  Tap* found = taps ? reinterpret_cast<Tap*>(taps->data()) : nullptr;
  const int64_t bands = (g.h.out + kBandRows - 1) / kBandRows;
  parallel_for(images * bands, 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      const int64_t n = i / bands, first = i % bands * kBandRows;
      const PoolBand band(g, first, std::min(kBandRows, g.h.out - first));
      const int64_t pixels = band.rows.h.in * g.w.in;
      const int64_t pixel = (n * g.h.in + band.begin) * g.w.in;
      Scratch scratch;
      const float* rows = source.x + pixel * g.channels;
      if (!source.stored()) {
        float* computed = scratch.floats(pixels * g.channels);
        source.load(pixel, pixels, g.channels, computed);
        rows = computed;
      }
      for (int64_t oy = 0; oy < band.rows.h.out; ++oy) {
        const int64_t at = n * out_image + (first + oy) * out_row;
        kernels::max_pool(rows, band.rows, oy, py + at, found ? found + at : nullptr);
      }
    }
  });

  y.set_grid(x.grid());
  return record(
      "max_pool2d",
      {{"kernel", o.kernel}, {"stride", o.stride}, {"pad", o.pad}, {"ceil_mode", o.ceil_mode}}, y,
      {x}, [g, taps, shape = x.shape()](const Tensor& dy, Needs) -> Grads {
        return {Tensor::deferred(shape, std::make_shared<MaxPoolGradient<Tap>>(dy, taps, g), {dy})};
      });
}

}  // namespace

Tensor max_pool2d(const Tensor& x, const PoolOptions& options) {
  const PoolGeometry g = geometry("max_pool2d", x, options);
  if (g.h.kernel * g.w.kernel <= 256) return max_pool<kernels::TapIndex8>(x, g, options);
  return max_pool<kernels::TapIndex32>(x, g, options);
}

Tensor avg_pool2d(const Tensor& x, const PoolOptions& o) {
  const PoolGeometry g = geometry("avg_pool2d", x, o);
  const bool include_pad = o.count_include_pad;
  const int64_t in_row = g.w.in * g.channels, out_row = g.w.out * g.channels;
  const int64_t in_image = g.h.in * in_row, out_image = g.h.out * out_row;
  Tensor y = Tensor::uninit({x.dim(0), g.h.out, g.w.out, g.channels});
  const float* px = x.data();
  float* py = y.data();
  for_rows(x.dim(0), g.h.out, out_row, [&](int64_t n, int64_t oy) {
    kernels::avg_pool(px + n * in_image, g, include_pad, oy, py + n * out_image + oy * out_row);
  });

  return record("avg_pool2d",
                {{"kernel", o.kernel},
                 {"stride", o.stride},
                 {"pad", o.pad},
                 {"ceil_mode", o.ceil_mode},
                 {"count_include_pad", o.count_include_pad}},
                y, {x},
                [g, include_pad, in_row, in_image, out_image, shape = x.shape()](const Tensor& dy,
                                                                                 Needs) -> Grads {
                  Tensor dx = Tensor::uninit(shape);
                  const float* from = dy.data();
                  float* to = dx.data();
                  for_rows(shape.dim(0), g.h.in, in_row, [&](int64_t n, int64_t iy) {
                    kernels::avg_pool_grad(from + n * out_image, g, include_pad, iy,
                                           to + n * in_image + iy * in_row);
                  });
                  return {dx};
                });
}

Tensor global_avg_pool2d(const Tensor& x) {
  PARE_CHECK(x.dims() == 4, "global_avg_pool2d: got ", x.shape(), ", expected [N, H, W, C]");
  return mean(x, {1, 2}, true);
}

}  // namespace pare
