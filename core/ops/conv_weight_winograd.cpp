// dg = G^T [ sum over tiles (A dy A^T) * (B^T d B) ] G, Winograd's forward transposed.
//
// Batches of tiles are transformed into memory, then each point's matrix product adds them to its
// own sum. Where such sums fit L2, a fixed number of parts of the batches have sums of their own,
// which are added up in order: a thread that takes whole parts multiplies what it has transformed
// itself, and waits for nobody. Larger sums exist once: all threads transform, then all multiply.
// Either way the same bits for any number of threads. With operands of bfloat16 the products sum up
// words of two tiles: what is said of tiles here is said of these.

#include "core/ops/conv_weight_winograd.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <vector>

#include "core/deferred.h"
#include "core/kernels/reduce.h"
#include "core/ops/common.h"
#include "core/ops/conv_gather.h"
#include "core/parallel.h"
#include "core/scratch.h"

namespace pare {

namespace {

using kernels::ConvShape;
using kernels::WinogradPlan;

/// Parts of the batches with sums of their own, a power of two so that threads share them evenly:
/// few, since adding them up moves all sums from core to core; one if the sums do not fit L2 beside
/// a block of tiles, or if adding up a few were as much work as the transforms.
int64_t parts_of(const WinogradPlan& plan, int64_t in, int64_t out) {
  constexpr int64_t kSums = 160 * 1024, kFew = 4, kMany = 16;  // kSums in floats
  const int64_t sums = plan.kind.points() * in * out;
  const int64_t even = plan.tiles() * (in + out) / (in * out);  // would be as much work
  if (sums > kSums || even < kFew) return 1;
  const int64_t some = std::min(std::clamp(even / 8, kFew, kMany), plan.batches());
  return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(some)));
}

/// How the batches of a plan are taken. A block's products are one sum, for any number of threads:
/// as many tiles as fit a thread's L2, but of many channels more, so that the sums, which are all
/// read and written with each block, are not most of what goes through memory. A flight is what is
/// transformed before it is multiplied: work for all threads, or for the one that has the part.
struct Cut {
  int64_t parts;
  bool alone;             // each part is one thread's
  int64_t block, flight;  // in batches
  int64_t most;           // summands of a flight

  Cut(const WinogradPlan& plan, int64_t in, int64_t out) : parts(parts_of(plan, in, out)) {
    constexpr int64_t kFloats = 128 * 1024;
    const int64_t tiles = plan.batch(0).summands;  // no batch has more
    const int64_t fit = kFloats / (plan.kind.points() * (in + out));
    const int64_t wanted = std::min(std::max(fit, in * out / (in + out)), kernels::kBlockPixels);
    block = std::max<int64_t>(wanted / tiles, 1);
    const int64_t threads = num_threads();
    alone = parts > 1 && (parts % threads == 0 || parts >= 4 * threads);
    // Threads wait for each other twice in a flight: longer ones, beyond L2, cost them less.
    const int64_t shared = threads > 1 && !alone ? 2 * threads : 1;
    const int64_t all = shared * std::max<int64_t>(fit / tiles, 1);
    flight = std::min(kernels::ceil_div(all, block) * block, plan.batches());
    most = flight * tiles;
  }
};

/// du [out, in] += z^T v, z [tiles, out], v [tiles, in]
void add_products(const kernels::TileKernels& kernels, const std::vector<kernels::Panel>& panels,
                  int64_t tiles, int64_t in, int64_t out, const float* v, const float* z,
                  float* du) {
  kernels::Ahead ahead;
  ahead.add(v + tiles * in, tiles * in);
  ahead.add(z + tiles * out, tiles * out);
  kernels::add_outer_product(kernels, {1, &v, in, tiles, z, out, out}, {{0, 0}}, panels, du, in,
                             ahead);
}

/// dw [out, r, r, in] = G^T (sum of the parts) G, du [parts, points, a plane of [out, in]]
void transform_back(const WinogradPlan& plan, int64_t in, int64_t out, int64_t parts,
                    const float* du, float* dw) {
  const int64_t taps = plan.kind.r * plan.kind.r, points = plan.kind.points();
  const int64_t plane = kernels::winograd_plane(out * in);
  parallel_for(out, kGrain / (parts * points * in) + 1, [&](Range rows) {
    Scratch scratch;
    float* sum = parts > 1 ? scratch.floats(points * in) : nullptr;
    for (int64_t n = rows.begin; n < rows.end; ++n) {
      const float* from = du + n * in;
      for (int64_t i = 0; sum && i < points; ++i) {
        kernels::sum_columns(from + i * plane, parts, points * plane, in, sum + i * in);
      }
      kernels::winograd_weight_grad(plan.kind, sum ? sum : from, sum ? in : plane, in,
                                    dw + n * taps * in, in);
    }
  });
}

/// Batches [first, last), transformed: rows of tiles for each point.
struct Flight {
  int64_t first, last;
  std::vector<int64_t> at;  // where each batch's tiles begin, and the last ones end
  int64_t z_plane, v_plane;
  float *z, *v;

  int64_t tile(int64_t batch) const { return at[static_cast<size_t>(batch - first)]; }
};

int env2(const char* n, int d) { const char* t = std::getenv(n); return t ? std::atoi(t) : d; }

/// What both ways of summing are made of.
class Summing {
 public:
  Summing(const WinogradPlan& plan, const ConvShape& s, const Tensor& x, const Tensor& dy,
          int64_t x_pixels, float* dy_sums)
      : plan_(plan),
        in_(s.in),
        out_(s.out),
        pending_(x.pending()),
        source_(source_of(x)),
        dy_(dy),
        x_pixels_(x_pixels),
        dy_sums_(dy_sums),
        panels_(kernels::make_panels(s.in, *plan.kernels)) {}

  /// Floats that a flight of so many tiles takes. A vector load may run past the last column: one
  /// panel of slack.
  int64_t floats(int64_t tiles) const {
    return plan_.kind.points() *
               (kernels::winograd_plane(tiles * out_) + kernels::winograd_plane(tiles * in_)) +
           kernels::kMaxPanel;
  }
  Flight flight(int64_t first, int64_t last, float* memory) const {
    Flight f{first, last, {0}, 0, 0, memory, nullptr};
    for (int64_t i = first; i < last; ++i) f.at.push_back(f.at.back() + plan_.batch(i).summands);
    f.z_plane = kernels::winograd_plane(f.at.back() * out_);
    f.v_plane = kernels::winograd_plane(f.at.back() * in_);
    f.v = f.z + plan_.kind.points() * f.z_plane;
    return f;
  }
  void transform(const Flight& f, int64_t i) const {
    kernels::winograd_batch_input(plan_, i, source_, x_pixels_, plan_.summands(), f.v_plane,
                                  f.v + f.tile(i) * in_);
    const auto batch = plan_.batch(i);
    dy_.come_to(batch.first, batch.pixels);
    kernels::winograd_batch_output_grad(plan_, i, dy_.data(), out_, f.z_plane,
                                        f.z + f.tile(i) * out_);
    if (!dy_sums_) return;
    kernels::sum_columns(dy_.data() + batch.first * out_, batch.pixels, out_, out_,
                         dy_sums_ + i * out_);
  }
  /// sums [out, in] += this point's products, block by block.
  void multiply(const Flight& f, int64_t block, int64_t point, float* sums) const {
    for (int64_t i = f.first; i < f.last; i += block) {
      const int64_t begin = f.tile(i), end = f.tile(std::min(i + block, f.last));
      add_products(*plan_.kernels, panels_, end - begin, in_, out_,
                   f.v + point * f.v_plane + begin * in_, f.z + point * f.z_plane + begin * out_,
                   sums);
    }
  }


  /// dw [out, r, r, in] from all tiles in one flight, block by block.
  void blocks(const Flight& f, float* dw) const {
    static const int64_t height = env2("PARE_G", 96);
    const int64_t points = plan_.kind.points(), taps = plan_.kind.r * plan_.kind.r;
    const int64_t lanes = plan_.kernels->lanes, tiles = f.at.back();
    const int64_t rows = kernels::ceil_div(out_, height), count = static_cast<int64_t>(panels_.size()) * rows;
    parallel_for(count, 1, [&](Range r) {
      for (int64_t i = r.begin; i < r.end; ++i) {
        const kernels::Panel& panel = panels_[static_cast<size_t>(i / rows)];
        const int64_t first = i % rows * height, some = std::min(height, out_ - first), width = panel.vectors * lanes;
        const int64_t plane = kernels::winograd_plane(some * width);
        Scratch scratch;
        float* du = scratch.floats(points * plane);
        std::fill(du, du + points * plane, 0.0f);
        const std::vector<kernels::Panel> panels{{0, panel.cols, panel.vectors}};
        for (int64_t p = 0; p < points; ++p) {
          const float* v = f.v + p * f.v_plane + panel.begin;
          const float* z = f.z + p * f.z_plane + first;
          kernels::Ahead ahead;
          kernels::add_outer_product(*plan_.kernels, {1, &v, in_, tiles, z, out_, some}, {{0, 0}}, panels, du + p * plane, width, ahead);
        }
        for (int64_t n = 0; n < some; ++n) {
          kernels::winograd_weight_grad(plan_.kind, du + n * width, plane, panel.cols,
                                        dw + (first + n) * taps * in_ + panel.begin, in_);
        }
      }
    });
  }

 private:
  const WinogradPlan& plan_;
  int64_t in_, out_;
  std::shared_ptr<const Deferred> pending_;  // the source points into it
  kernels::Source source_;
  RowWalk dy_;
  int64_t x_pixels_;
  float* dy_sums_;
  std::vector<kernels::Panel> panels_;
};

/// du [points] planes = batches [first, last): all threads at one flight, or only the calling
/// one if it is in a parallel_for.
void sum_flights(const Summing& work, const Cut& cut, int64_t first, int64_t last, int64_t points,
                 int64_t plane, float* memory, float* du) {
  for (int64_t i = first; i < last; i += cut.flight) {
    const Flight f = work.flight(i, std::min(i + cut.flight, last), memory);
    parallel_for(f.last - f.first, 1, [&](Range r) {
      for (int64_t batch = r.begin; batch < r.end; ++batch) work.transform(f, f.first + batch);
    });
    parallel_for(points, 1, [&](Range r) {
      for (int64_t point = r.begin; point < r.end; ++point) {
        float* sums = du + point * plane;
        if (i == first) std::fill(sums, sums + plane, 0.0f);
        work.multiply(f, cut.block, point, sums);
      }
    });
  }
}

/// du [parts, points] planes
void sum_parts(const Summing& work, const Cut& cut, int64_t batches, int64_t points, int64_t plane,
               float* du) {
  const auto sum_part = [&](int64_t part, float* memory) {
    sum_flights(work, cut, part * batches / cut.parts, (part + 1) * batches / cut.parts, points,
                plane, memory, du + part * points * plane);
  };
  if (cut.alone) {
    parallel_for(cut.parts, 1, [&](Range r) {
      Scratch scratch;
      float* memory = scratch.floats(work.floats(cut.most));
      for (int64_t part = r.begin; part < r.end; ++part) sum_part(part, memory);
    });
  } else {
    Tensor memory = Tensor::uninit({work.floats(cut.most)});
    for (int64_t part = 0; part < cut.parts; ++part) sum_part(part, memory.data());
  }
}

}  // namespace

Tensor winograd_weight_gradient(const ConvShape& s, const kernels::WinogradKind& kind,
                                const Tensor& x, const Tensor& dy, const Shape& dw_shape,
                                Tensor* db) {
  const GatherPass pass = forward_pass(s);
  const WinogradPlan plan(pass.p, s.images, s.out, kind);
  const int64_t points = kind.points(), batches = plan.batches();
  const int64_t plane = kernels::winograd_plane(s.out * s.in), in_out = s.in * s.out;
  const Cut cut(plan, s.in, s.out);
  Tensor sums = db ? Tensor::uninit({batches, s.out}) : Tensor{};
  const Summing work(plan, s, x, dy, pass.x_pixels, db ? sums.data() : nullptr);
  if (env2("PARE_W", 1) && points * in_out >= (1 << 20) && plan.batch(batches - 1).image >= 0 && plan.tiles() * (s.in + s.out) * 2 <= s.in * s.out) {
    int64_t all = 0;
    for (int64_t i = 0; i < batches; ++i) all += plan.batch(i).summands;
    Tensor memory = Tensor::uninit({work.floats(all)});
    const Flight f = work.flight(0, batches, memory.data());
    parallel_for(batches, 1, [&](Range r) {
      for (int64_t batch = r.begin; batch < r.end; ++batch) work.transform(f, batch);
    });
    if (db) {
      *db = Tensor::uninit({s.out});
      add_parts(sums, batches, *db);
    }
    Tensor dw = Tensor::uninit(dw_shape);
    work.blocks(f, dw.data());
    return dw;
  }
  Tensor du = Tensor::uninit({cut.parts, points * plane});
  sum_parts(work, cut, batches, points, plane, du.data());
  if (db) {
    *db = Tensor::uninit({s.out});
    add_parts(sums, batches, *db);
  }
  Tensor dw = Tensor::uninit(dw_shape);
  transform_back(plan, s.in, s.out, cut.parts, du.data(), dw.data());
  return dw;
}

}  // namespace pare
