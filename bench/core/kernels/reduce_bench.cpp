// Sums, maxima, softmax and random numbers, at sizes of a CIFAR network's layers.

#include <benchmark/benchmark.h>

#include <vector>

#include "core/kernels/isa.h"
#include "core/kernels/philox.h"
#include "core/kernels/reduce.h"
#include "core/kernels/softmax.h"
#include "core/rng.h"

namespace pare {
namespace {

std::vector<float> values(int64_t n) {
  active_isa();  // settles PARE_ISA
  Rng rng(1);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = rng.uniform(-1, 1);
  return x;
}

void report(benchmark::State& state, int64_t elements) {
  state.SetItemsProcessed(state.iterations() * elements);
  state.SetBytesProcessed(state.iterations() * elements * static_cast<int64_t>(sizeof(float)));
  state.SetLabel(isa_name(active_isa()));
}

void sum(benchmark::State& state) {
  const std::vector<float> x = values(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(kernels::sum(x.data(), state.range(0)));
  report(state, state.range(0));
}
BENCHMARK(sum)->Arg(4096)->Arg(1 << 20);

void max(benchmark::State& state) {
  const std::vector<float> x = values(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(kernels::max(x.data(), state.range(0)));
  report(state, state.range(0));
}
BENCHMARK(max)->Arg(4096)->Arg(1 << 20);

void sum_columns(benchmark::State& state) {
  const int64_t rows = 1024, n = state.range(0);
  const std::vector<float> x = values(rows * n);
  std::vector<float> y(static_cast<size_t>(n));
  for (auto _ : state) {
    kernels::sum_columns(x.data(), rows, n, n, y.data());
    benchmark::DoNotOptimize(y.data());
  }
  report(state, rows * n);
}
BENCHMARK(sum_columns)->Arg(10)->Arg(16)->Arg(96)->Arg(192);

void cross_entropy(benchmark::State& state) {
  const int64_t rows = 128, n = state.range(0);
  const std::vector<float> z = values(rows * n), labels(static_cast<size_t>(rows), 3.0f);
  std::vector<float> loss(static_cast<size_t>(rows)), dz(z.size());
  for (auto _ : state) {
    kernels::cross_entropy(z.data(), {labels.data(), false, 0}, loss.data(), dz.data(), rows, n);
    benchmark::DoNotOptimize(dz.data());
  }
  report(state, rows * n);
}
BENCHMARK(cross_entropy)->Arg(10)->Arg(100)->Arg(1000);

void philox(benchmark::State& state) {
  active_isa();
  std::vector<uint32_t> numbers(4096);
  for (auto _ : state) {
    kernels::philox(1, 0, numbers.data(), 4096);
    benchmark::DoNotOptimize(numbers.data());
  }
  report(state, 4096);
}
BENCHMARK(philox);

}  // namespace
}  // namespace pare
