// dg = G^T [ sum over tiles (A dy A^T) * (B^T d B) ] G, Winograd's forward transposed.
//
// Batches of tiles are transformed into memory shared by all threads, then each point's matrix
// product adds them to its own sum: no sums per thread that would have to be merged, and the same
// bits for any number of threads.

#include "core/ops/conv_weight_winograd.h"

#include <algorithm>
#include <vector>

#include "core/deferred.h"
#include "core/kernels/reduce.h"
#include "core/ops/conv_gather.h"
#include "core/parallel.h"
#include "core/scratch.h"

namespace pare {

namespace {

using kernels::ConvShape;
using kernels::WinogradPlan;

/// Floats of the transformed tiles that are in flight: they stay in the last-level cache.
constexpr int64_t kFlight = 2 << 20;

/// Consecutive batches whose transformed tiles fit, and where each begins.
struct Flight {
  int64_t first, last;           // batches
  std::vector<int64_t> tile_at;  // of each batch, and the total
  int64_t tiles() const { return tile_at.back(); }
};

std::vector<Flight> flights(const WinogradPlan& plan, int64_t floats_per_tile) {
  std::vector<Flight> all;
  for (int64_t i = 0; i < plan.batches(); ++i) {
    const int64_t tiles = plan.batch(i).tiles;
    if (all.empty() || (all.back().tiles() + tiles) * floats_per_tile > kFlight) {
      all.push_back({i, i, {0}});
    }
    all.back().last = i + 1;
    all.back().tile_at.push_back(all.back().tiles() + tiles);
  }
  return all;
}

/// du [out, in] += z^T v, z [tiles, out], v [tiles, in]
void add_products(const kernels::TileKernels& kernels, const std::vector<kernels::Panel>& panels,
                  int64_t tiles, int64_t in, int64_t out, const float* v, const float* z,
                  float* du) {
  for (int64_t first = 0; first < tiles; first += kernels::kBlockPixels) {
    const float* line = v + first * in;
    const int64_t count = std::min(kernels::kBlockPixels, tiles - first);
    kernels::Ahead ahead;
    ahead.add(line + count * in, count * in);
    ahead.add(z + (first + count) * out, count * out);
    kernels::add_outer_product(kernels, {&line, in, z + first * out, out, 1, count, out}, {{0, 0}},
                               panels, du, in, ahead);
  }
}

/// dw [out, r, r, in] = G^T du G, du [points, out, in]
void transform_back(const WinogradPlan& plan, int64_t in, int64_t out, const float* du, float* dw) {
  const int64_t taps = plan.kind.r * plan.kind.r;
  parallel_for(out, 8, [&](Range rows) {
    for (int64_t n = rows.begin; n < rows.end; ++n) {
      kernels::winograd_weight_grad(plan.kind, du + n * in, out * in, in, dw + n * taps * in);
    }
  });
}

}  // namespace

Tensor winograd_weight_gradient(const ConvShape& s, const kernels::WinogradKind& kind,
                                const Tensor& x, const Tensor& dy, const Shape& dw_shape,
                                Tensor* db) {
  const GatherPass pass = forward_pass(s);
  const WinogradPlan plan(pass.p, s.images, s.out, kind);
  const int64_t points = kind.points(), batches = plan.batches();
  const auto pending = x.pending();  // the source points into it
  const kernels::Source source = source_of(x);
  const float* pdy = dy.data();
  const std::vector<Flight> all = flights(plan, points * (s.in + s.out));
  int64_t most = 0;
  for (const Flight& f : all) most = std::max(most, f.tiles());
  // A vector load may run past the last column: one panel of slack.
  const int64_t z_size = points * kernels::winograd_plane(most * s.out);
  const int64_t v_size = points * kernels::winograd_plane(most * s.in);
  Tensor flight = Tensor::uninit({z_size + v_size + kernels::kMaxPanel});
  Tensor du = Tensor::zeros({points, s.out * s.in});
  Tensor sums = db ? Tensor::uninit({batches, s.out}) : Tensor{};
  float *z = flight.data(), *v = z + z_size, *pdu = du.data();
  float* psums = db ? sums.data() : nullptr;
  const auto panels = kernels::make_panels(s.in, *plan.kernels);
  for (const Flight& f : all) {
    const int64_t tiles = f.tiles();
    const int64_t z_plane = kernels::winograd_plane(tiles * s.out);
    const int64_t v_plane = kernels::winograd_plane(tiles * s.in);
    parallel_for(f.last - f.first, 1, [&](Range r) {
      for (int64_t i = f.first + r.begin; i < f.first + r.end; ++i) {
        const int64_t at = f.tile_at[static_cast<size_t>(i - f.first)];
        kernels::winograd_batch_input(plan, i, source, pass.x_pixels, v_plane, v + at * s.in);
        kernels::winograd_batch_output_grad(plan, i, pdy, s.out, z_plane, z + at * s.out);
        const auto batch = plan.batch(i);
        if (psums) {
          kernels::sum_columns(pdy + batch.first * s.out, batch.pixels, s.out, s.out,
                               psums + i * s.out);
        }
      }
    });
    parallel_for(points, 1, [&](Range r) {
      for (int64_t point = r.begin; point < r.end; ++point) {
        add_products(*plan.kernels, panels, tiles, s.in, s.out, v + point * v_plane,
                     z + point * z_plane, pdu + point * s.out * s.in);
      }
    });
  }
  if (db) {
    *db = Tensor::uninit({s.out});
    kernels::sum_columns(psums, batches, s.out, s.out, db->data());
  }
  Tensor dw = Tensor::uninit(dw_shape);
  transform_back(plan, s.in, s.out, pdu, dw.data());
  return dw;
}

}  // namespace pare
