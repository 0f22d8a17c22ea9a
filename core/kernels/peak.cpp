#include "core/kernels/peak.h"

#include <chrono>
#include <numeric>
#include <vector>

#include "core/kernels/conv_tile.h"
#include "core/kernels/isa.h"
#include "core/parallel.h"

namespace pare::kernels {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// FLOP that this thread does until `seconds` are over.
double spin(double seconds) {
  constexpr int64_t kSteps = 20'000;  // some 0.1 ms
  const TileKernels& kernels = tile_kernels();
  const auto start = Clock::now();
  double flops = 0;
  while (seconds_since(start) < seconds) flops += kernels.spin(kSteps);
  return flops;
}

}  // namespace

double peak_flops(double seconds) {
  std::vector<double> flops(static_cast<size_t>(num_threads()));
  const auto start = Clock::now();
  parallel_for(num_threads(), 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) flops[static_cast<size_t>(i)] = spin(seconds);
  });
  const double elapsed = seconds_since(start);
  return std::accumulate(flops.begin(), flops.end(), 0.0) / elapsed;
}

}  // namespace pare::kernels
