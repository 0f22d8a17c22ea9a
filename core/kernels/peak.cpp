#include "core/kernels/peak.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

#include "core/kernels/conv_tile.h"
#include "core/kernels/isa.h"
#include "core/parallel.h"

namespace pare::kernels {

namespace {

double measure() {
  using Clock = std::chrono::steady_clock;
  const TileKernels& kernels = tile_kernels();
  constexpr int64_t kSteps = 4'000'000;
  constexpr int kRuns = 5;
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<double> flops(static_cast<size_t>(num_threads()));
    const auto start = Clock::now();
    parallel_for(num_threads(), 1, [&](Range r) {
      for (int64_t i = r.begin; i < r.end; ++i)
        flops[static_cast<size_t>(i)] = kernels.spin(kSteps);
    });
    double sum = 0;
    for (double f : flops) sum += f;
    best = std::max(best, sum / std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

}  // namespace

double peak_flops() {
  static std::map<std::pair<Isa, int>, double> known;
  double& peak = known[{active_isa(), num_threads()}];
  if (peak == 0) peak = measure();
  return peak;
}

}  // namespace pare::kernels
