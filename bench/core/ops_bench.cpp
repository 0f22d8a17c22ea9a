// Every row of tests/support/op_cases.h at its large shapes: forward alone, and forward with
// backward.

#include <benchmark/benchmark.h>

#include <string>

#include "core/autograd.h"
#include "core/error.h"
#include "core/kernels/isa.h"
#include "core/parallel.h"
#include "tests/support/op_cases.h"

namespace pare::test {
namespace {

const std::vector<Shape>& shapes(const OpCase& op) {
  return op.traits.large.empty() ? op.inputs : op.traits.large;
}

std::vector<Tensor> inputs(const OpCase& op) {
  Rng rng(1);
  std::vector<Tensor> x;
  for (const Shape& shape : shapes(op)) {
    x.push_back(Tensor::uniform(shape, rng, op.traits.lo, op.traits.hi));
  }
  return x;
}

/// Bytes that have to move at least: each input and the output once.
void report(benchmark::State& state, const std::vector<Tensor>& x, int64_t outputs, int passes) {
  int64_t elements = outputs;
  for (const Tensor& t : x) elements += t.numel();
  const double bytes = static_cast<double>(elements) * sizeof(float) * passes;
  state.counters["B/s"] = {bytes * static_cast<double>(state.iterations()),
                           benchmark::Counter::kIsRate};
  state.SetLabel(str(isa_name(active_isa()), ", ", num_threads(), " threads"));
}

void forward(benchmark::State& state, const OpCase& op) {
  const std::vector<Tensor> x = inputs(op);
  NoGrad guard;
  int64_t outputs = 0;
  for (auto _ : state) {
    const Tensor y = op.f(x);
    benchmark::DoNotOptimize(y.data());
    outputs = y.numel();
  }
  report(state, x, outputs, 1);
}

void forward_backward(benchmark::State& state, const OpCase& op) {
  std::vector<Tensor> x = inputs(op);
  for (Tensor& t : x) t.requires_grad_();
  const Tensor dy = Tensor::ones(no_grad([&] { return op.f(x); }).shape());
  for (auto _ : state) {
    for (Tensor& t : x) t.zero_grad();
    op.f(x).backward(dy);
    benchmark::DoNotOptimize(x[0].grad().data());
  }
  report(state, x, dy.numel(), 2);
}

const bool registered = [] {
  for (const OpCase& op : kOpCases) {
    benchmark::RegisterBenchmark((op.name + "/forward").c_str(), forward, op)->UseRealTime();
    benchmark::RegisterBenchmark((op.name + "/both").c_str(), forward_backward, op)->UseRealTime();
  }
  return true;
}();

}  // namespace
}  // namespace pare::test
