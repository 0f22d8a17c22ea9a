// dg = G^T [ sum over tiles (A dy A^T) * (B^T d B) ] G, Winograd's forward transposed.
//
// Batches of tiles are transformed into memory, then each point's matrix product adds them to its
// own sum. Where such sums fit L2, a fixed number of parts of the batches have sums of their own,
// which are added up in order: a thread that takes whole parts multiplies what it has transformed
// itself, and waits for nobody. Larger sums exist once: all threads transform, then all multiply.
// Where there are few tiles, they are all transformed first, and the gradient is computed block by
// block: a block's sums for all points stay in cache until they are transformed back. Any way gives
// the same bits for any number of threads. With operands of bfloat16 the products sum up words of
// two tiles: what is said of tiles here is said of these.

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
using kernels::Panel;
using kernels::TileLayout;
using kernels::winograd_plane;
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
  int64_t most;           // lines of a flight

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

/// Batches [first, last), transformed.
struct Flight {
  int64_t first, last;
  std::vector<int64_t> at;  // the line where each batch begins, and the last one ends
  TileLayout z_layout, v_layout;
  float *z, *v;

  int64_t line(int64_t batch) const { return at[static_cast<size_t>(batch - first)]; }
};

/// Rows and columns of the sums of one point.
struct Area {
  int64_t row, rows, column;
  std::vector<Panel> panels;  // of the columns from `column` on
  int64_t width;              // stride
};

/// What all ways of summing are made of.
class Summing {
 public:
  Summing(const WinogradPlan& the_plan, const ConvShape& s, const Tensor& x, const Tensor& dy,
          int64_t x_pixels, float* dy_sums)
      : plan(the_plan),
        in(s.in),
        out(s.out),
        panels(kernels::make_panels(s.in, *the_plan.kernels)),
        pending_(x.pending()),
        source_(source_of(x)),
        dy_(dy),
        x_pixels_(x_pixels),
        dy_sums_(dy_sums) {}

  const WinogradPlan& plan;
  const int64_t in, out;
  const std::vector<Panel> panels;

  /// Floats that a flight of so many lines takes. A vector load may run past the last column: one
  /// panel of slack.
  int64_t floats(int64_t lines) const {
    return plan.kind.points() * (plan.summands(out, lines).plane + plan.summands(in, lines).plane) +
           kernels::kMaxPanel;
  }
  Flight flight(int64_t first, int64_t last, float* memory) const {
    Flight f{first, last, {0}, {}, {}, memory, nullptr};
    for (int64_t i = first; i < last; ++i) f.at.push_back(f.at.back() + plan.batch(i).summands);
    f.z_layout = plan.summands(out, f.at.back()), f.v_layout = plan.summands(in, f.at.back());
    f.v = f.z + plan.kind.points() * f.z_layout.plane;
    return f;
  }
  /// All batches of the flight, by all threads or, within a parallel_for, by this one.
  void transform(const Flight& f) const {
    parallel_for(f.last - f.first, 1, [&](Range r) {
      for (int64_t i = r.begin; i < r.end; ++i) transform(f, f.first + i);
    });
  }
  /// sums [rows, width] += this point's products, `block` batches at a time; the flight's first one
  /// begins them if they are fresh.
  void multiply(const Flight& f, int64_t block, int64_t point, const Area& area, bool fresh,
                float* sums) const {
    const int64_t v_line = f.v_layout.line, z_line = f.z_layout.line;
    for (int64_t i = f.first; i < f.last; i += block) {
      const int64_t begin = f.line(i), lines = f.line(std::min(i + block, f.last)) - begin;
      const float* v = f.v + point * f.v_layout.plane + begin * v_line + area.column;
      const float* z = f.z + point * f.z_layout.plane + begin * z_line + area.row;
      kernels::Ahead ahead;
      ahead.add(v + lines * v_line, lines * v_line);
      ahead.add(z + lines * z_line, lines * z_line);
      kernels::add_outer_product(
          *plan.kernels, {1, &v, v_line, lines, z, z_line, area.rows, !fresh || i > f.first},
          {{0, 0}}, area.panels, sums, area.width, ahead);
    }
  }

 private:
  void transform(const Flight& f, int64_t i) const {
    kernels::winograd_batch_input(plan, i, source_, x_pixels_, f.v_layout,
                                  f.v + f.line(i) * f.v_layout.line);
    const auto batch = plan.batch(i);
    dy_.come_to(batch.first, batch.pixels);
    kernels::winograd_batch_output_grad(plan, i, dy_.data(), out, f.z_layout,
                                        f.z + f.line(i) * f.z_layout.line);
    if (!dy_sums_) return;
    kernels::sum_columns(dy_.data() + batch.first * out, batch.pixels, out, out,
                         dy_sums_ + i * out);
  }

  std::shared_ptr<const Deferred> pending_;  // the source points into it
  kernels::Source source_;
  RowWalk dy_;
  int64_t x_pixels_;
  float* dy_sums_;
};

/// du [points] planes of [out, in] = batches [first, last): all threads at one flight, or only the
/// calling one if it is in a parallel_for.
void sum_flights(const Summing& work, const Cut& cut, int64_t first, int64_t last, float* memory,
                 float* du) {
  const Area all{0, work.out, 0, work.panels, work.in};
  const int64_t plane = winograd_plane(work.out * work.in);
  for (int64_t i = first; i < last; i += cut.flight) {
    const Flight f = work.flight(i, std::min(i + cut.flight, last), memory);
    work.transform(f);
    parallel_for(work.plan.kind.points(), 1, [&](Range r) {
      for (int64_t point = r.begin; point < r.end; ++point) {
        work.multiply(f, cut.block, point, all, i == first, du + point * plane);
      }
    });
  }
}

/// du [parts, points] planes of [out, in]
void sum_parts(const Summing& work, const Cut& cut, float* du) {
  const int64_t batches = work.plan.batches();
  const int64_t size = work.plan.kind.points() * winograd_plane(work.out * work.in);
  const auto sum_part = [&](int64_t part, float* memory) {
    sum_flights(work, cut, part * batches / cut.parts, (part + 1) * batches / cut.parts, memory,
                du + part * size);
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

/// dw [out, r, r, in] = G^T (sum of the parts) G, du [parts, points] planes of [out, in]
void transform_back(const Summing& work, int64_t parts, const float* du, float* dw) {
  const WinogradPlan& plan = work.plan;
  const int64_t in = work.in, taps = plan.kind.r * plan.kind.r, points = plan.kind.points();
  const int64_t plane = winograd_plane(work.out * in);
  parallel_for(work.out, kGrain / (parts * points * in) + 1, [&](Range rows) {
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

/// One block of dw [out, r, r, in], from all tiles.
void run_block(const Summing& work, const Flight& f, const Area& area, float* dw) {
  const WinogradPlan& plan = work.plan;
  const int64_t taps = plan.kind.r * plan.kind.r, points = plan.kind.points();
  const int64_t plane = winograd_plane(area.rows * area.width);
  Scratch scratch;
  float* du = scratch.floats(points * plane);
  const int64_t some = std::max<int64_t>(kernels::kBlockPixels / plan.batch(0).summands, 1);
  for (int64_t point = 0; point < points; ++point) {
    work.multiply(f, some, point, area, true, du + point * plane);
  }
  for (int64_t n = 0; n < area.rows; ++n) {
    kernels::winograd_weight_grad(plan.kind, du + n * area.width, plane, area.panels[0].cols,
                                  dw + (area.row + n) * taps * work.in + area.column, work.in);
  }
}

void run_blocks(const Summing& work, float* dw) {
  constexpr int64_t kRows = 96;  // the sums of a panel's block fit L2
  const WinogradPlan& plan = work.plan;
  int64_t lines = 0;
  for (int64_t i = 0; i < plan.batches(); ++i) lines += plan.batch(i).summands;
  Tensor memory = Tensor::uninit({work.floats(lines)});
  const Flight all = work.flight(0, plan.batches(), memory.data());
  work.transform(all);
  const int64_t rows = kernels::ceil_div(work.out, kRows);
  parallel_for(static_cast<int64_t>(work.panels.size()) * rows, 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      const Panel& panel = work.panels[static_cast<size_t>(i / rows)];
      const int64_t row = i % rows * kRows;
      run_block(work, all,
                {row,
                 std::min(kRows, work.out - row),
                 panel.begin,
                 {{0, panel.cols, panel.vectors}},
                 panel.vectors * plan.kernels->lanes},
                dw);
    }
  });
}

}  // namespace

Tensor winograd_weight_gradient(const ConvShape& s, const kernels::WinogradKind& kind,
                                const Tensor& x, const Tensor& dy, const Shape& dw_shape,
                                Tensor* db) {
  const GatherPass pass = forward_pass(s);
  const WinogradPlan plan(pass.p, s.images, s.out, kind);
  Tensor dy_sums = db ? Tensor::uninit({plan.batches(), s.out}) : Tensor{};
  const Summing work(plan, s, x, dy, pass.x_pixels, db ? dy_sums.data() : nullptr);
  Tensor dw = Tensor::uninit(dw_shape);
  if (plan.weights_outweigh) {
    run_blocks(work, dw.data());
  } else {
    const Cut cut(plan, s.in, s.out);
    Tensor du = Tensor::uninit({cut.parts * kind.points() * winograd_plane(s.out * s.in)});
    sum_parts(work, cut, du.data());
    transform_back(work, cut.parts, du.data(), dw.data());
  }
  if (db) {
    *db = Tensor::uninit({s.out});
    add_parts(dy_sums, plan.batches(), *db);
  }
  return dw;
}

}  // namespace pare
