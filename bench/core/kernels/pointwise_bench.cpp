// Unary functions on values that stay in the first-level cache: the cost of the arithmetic itself.

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "core/kernels/isa.h"
#include "core/kernels/pointwise.h"
#include "core/rng.h"

namespace pare {
namespace {

constexpr int64_t kCount = 2048;

void run(benchmark::State& state, Pointwise f, bool gradient) {
  active_isa();  // settles PARE_ISA
  Rng rng(1);
  std::vector<float> x(kCount), dy(kCount, 1.0f), y(kCount);
  for (float& v : x) v = rng.uniform(0.1f, 3);
  for (auto _ : state) {
    if (gradient) {
      kernels::pointwise_grad(f, x.data(), dy.data(), y.data(), kCount);
    } else {
      kernels::pointwise(f, x.data(), y.data(), kCount);
    }
    benchmark::DoNotOptimize(y.data());
  }
  state.SetItemsProcessed(state.iterations() * kCount);
  state.SetLabel(isa_name(active_isa()));
}

const bool registered = [] {
  for (int kind = 1; kind <= static_cast<int>(Pointwise::Kind::round); ++kind) {
    const Pointwise f = {.kind = static_cast<Pointwise::Kind>(kind), .a = 0.5f, .b = 3, .c = 1};
    const std::string name = std::string("kernels/") + f.name();
    benchmark::RegisterBenchmark(name.c_str(), run, f, false);
    benchmark::RegisterBenchmark((name + "_grad").c_str(), run, f, true);
  }
  return true;
}();

}  // namespace
}  // namespace pare
