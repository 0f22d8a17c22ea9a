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

/// How the batches of a plan are taken. A block's products are one sum, for any number of threads:
/// as many tiles as fit a thread's L2, but of many channels more, so that the sums, which are all
/// read and written with each block, are not most of what goes through memory. A flight is what is
/// transformed before it is multiplied: work for all threads.
struct Flights {
  int64_t block, flight;  // in batches
  int64_t most;           // tiles of a flight

  Flights(const WinogradPlan& plan, int64_t in, int64_t out) {
    constexpr int64_t kFloats = 128 * 1024;
    const int64_t tiles = plan.batch(0).tiles;  // no batch has more
    const int64_t fit = kFloats / (plan.kind.points() * (in + out));
    const int64_t wanted = std::min(std::max(fit, in * out / (in + out)), kernels::kBlockPixels);
    block = std::max<int64_t>(wanted / tiles, 1);
    const int64_t all = num_threads() * std::max<int64_t>(fit / tiles, 1);
    flight = std::min(kernels::ceil_div(all, block) * block, plan.batches());
    most = flight * tiles;
  }
};

/// Where the tiles of each of some batches begin, and the last ones end.
std::vector<int64_t> offsets(const WinogradPlan& plan, int64_t first, int64_t last) {
  std::vector<int64_t> at{0};
  for (int64_t i = first; i < last; ++i) at.push_back(at.back() + plan.batch(i).tiles);
  return at;
}

/// du [out, in] += z^T v, z [tiles, out], v [tiles, in]
void add_products(const kernels::TileKernels& kernels, const std::vector<kernels::Panel>& panels,
                  int64_t tiles, int64_t in, int64_t out, const float* v, const float* z,
                  float* du) {
  kernels::Ahead ahead;
  ahead.add(v + tiles * in, tiles * in);
  ahead.add(z + tiles * out, tiles * out);
  kernels::add_outer_product(kernels, {&v, in, z, out, 1, tiles, out}, {{0, 0}}, panels, du, in,
                             ahead);
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
  const Flights cut(plan, s.in, s.out);
  // A vector load may run past the last column: one panel of slack.
  const int64_t z_size = points * kernels::winograd_plane(cut.most * s.out);
  const int64_t v_size = points * kernels::winograd_plane(cut.most * s.in);
  Tensor flight = Tensor::uninit({z_size + v_size + kernels::kMaxPanel});
  Tensor du = Tensor::zeros({points, s.out * s.in});
  Tensor sums = db ? Tensor::uninit({batches, s.out}) : Tensor{};
  float *z = flight.data(), *v = z + z_size, *pdu = du.data();
  float* psums = db ? sums.data() : nullptr;
  const auto panels = kernels::make_panels(s.in, *plan.kernels);
  for (int64_t first = 0; first < batches; first += cut.flight) {
    const int64_t last = std::min(first + cut.flight, batches);
    const std::vector<int64_t> at = offsets(plan, first, last);
    const auto tile = [&](int64_t batch) { return at[static_cast<size_t>(batch - first)]; };
    const int64_t z_plane = kernels::winograd_plane(tile(last) * s.out);
    const int64_t v_plane = kernels::winograd_plane(tile(last) * s.in);
    parallel_for(last - first, 1, [&](Range r) {
      for (int64_t i = first + r.begin; i < first + r.end; ++i) {
        kernels::winograd_batch_input(plan, i, source, pass.x_pixels, v_plane, v + tile(i) * s.in);
        kernels::winograd_batch_output_grad(plan, i, pdy, s.out, z_plane, z + tile(i) * s.out);
        const auto batch = plan.batch(i);
        if (psums) {
          kernels::sum_columns(pdy + batch.first * s.out, batch.pixels, s.out, s.out,
                               psums + i * s.out);
        }
      }
    });
    parallel_for(points, 1, [&](Range r) {
      for (int64_t point = r.begin; point < r.end; ++point) {
        for (int64_t i = first; i < last; i += cut.block) {
          const int64_t begin = tile(i), end = tile(std::min(i + cut.block, last));
          add_products(*plan.kernels, panels, end - begin, s.in, s.out,
                       v + point * v_plane + begin * s.in, z + point * z_plane + begin * s.out,
                       pdu + point * s.out * s.in);
        }
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
