// Pooling of whole batches: NIN's two pools, and ResNet-18's stem.

#include <benchmark/benchmark.h>

#include "core/autograd.h"
#include "core/error.h"
#include "core/kernels/isa.h"
#include "core/ops.h"
#include "core/parallel.h"

namespace pare {
namespace {

struct Case {
  const char* name;
  Shape shape;
  PoolOptions options;
};
const Case kCases[] = {
    {"nin pool1", {128, 32, 32, 96}, {.kernel = 3, .stride = 2, .pad = 1}},
    {"nin pool2", {128, 16, 16, 192}, {.kernel = 3, .stride = 2, .pad = 1}},
    {"vgg pool1", {128, 32, 32, 64}, {}},
    {"resnet18 stem", {8, 112, 112, 64}, {.kernel = 3, .stride = 2, .pad = 1}},
};

/// Bytes: the input once, the output once, in backward the same the other way.
void report(benchmark::State& state, const Case& c, int64_t outputs, int passes) {
  const double bytes = static_cast<double>((c.shape.numel() + outputs) * passes) * sizeof(float);
  state.counters["B/s"] = {bytes * static_cast<double>(state.iterations()),
                           benchmark::Counter::kIsRate};
  state.SetLabel(str(c.name, ", ", isa_name(active_isa()), ", ", num_threads(), " threads"));
}

template <Tensor (*kPool)(const Tensor&, const PoolOptions&)>
void forward(benchmark::State& state) {
  const Case& c = kCases[state.range(0)];
  const Tensor x = Tensor::ones(c.shape);
  NoGrad guard;
  int64_t outputs = 0;
  for (auto _ : state) outputs = kPool(x, c.options).numel();
  report(state, c, outputs, 1);
}
BENCHMARK(forward<max_pool2d>)->DenseRange(0, 3)->UseRealTime();
BENCHMARK(forward<avg_pool2d>)->DenseRange(0, 3)->UseRealTime();

template <Tensor (*kPool)(const Tensor&, const PoolOptions&)>
void both(benchmark::State& state) {
  const Case& c = kCases[state.range(0)];
  Tensor x = Tensor::ones(c.shape).requires_grad_();
  const Tensor dy = Tensor::ones(no_grad([&] { return kPool(x, c.options); }).shape());
  for (auto _ : state) {
    x.zero_grad();
    kPool(x, c.options).backward(dy);
  }
  report(state, c, dy.numel(), 2);
}
BENCHMARK(both<max_pool2d>)->DenseRange(0, 3)->UseRealTime();
BENCHMARK(both<avg_pool2d>)->DenseRange(0, 3)->UseRealTime();

}  // namespace
}  // namespace pare
