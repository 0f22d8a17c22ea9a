// Convolution passes over the layers of real networks, batch 32: FLOP/s, and the measured FMA peak
// to hold them against. `pare_bench --benchmark_filter=conv` prints all; OMP_NUM_THREADS and
// PARE_ISA choose threads and ISA.

#include <benchmark/benchmark.h>

#include <string>

#include "core/kernels/isa.h"
#include "core/kernels/peak.h"
#include "core/ops/conv_passes.h"
#include "core/parallel.h"

namespace {

using namespace pare;
using kernels::ConvShape;

struct Layer {
  const char* name;
  ConvShape s;
};

ConvShape square(int64_t size, int64_t in, int64_t out, int64_t kernel, int64_t stride = 1,
                 int64_t groups = 1) {
  return {32,     size,   size,       in,         out, kernel, kernel,
          stride, stride, kernel / 2, kernel / 2, 1,   1,      groups};
}

const Layer kLayers[] = {
    {"nin_c1_5x5_3_192@32", square(32, 3, 192, 5)},
    {"nin_c2_1x1_192_160@32", square(32, 192, 160, 1)},
    {"nin_c3_1x1_160_96@32", square(32, 160, 96, 1)},
    {"nin_c4_5x5_96_192@16", square(16, 96, 192, 5)},
    {"nin_c5_1x1_192_192@16", square(16, 192, 192, 1)},
    {"nin_c7_3x3_192_192@8", square(8, 192, 192, 3)},
    {"nin_c8_1x1_192_192@8", square(8, 192, 192, 1)},
    {"nin_c9_1x1_192_10@8", square(8, 192, 10, 1)},
    {"r20_3x3_3_16@32", square(32, 3, 16, 3)},
    {"r20_3x3_16_16@32", square(32, 16, 16, 3)},
    {"r20_3x3_16_32_s2@32", square(32, 16, 32, 3, 2)},
    {"r20_3x3_32_32@16", square(16, 32, 32, 3)},
    {"r20_3x3_32_64_s2@16", square(16, 32, 64, 3, 2)},
    {"r20_3x3_64_64@8", square(8, 64, 64, 3)},
    {"r18_7x7_3_64_s2@224", square(224, 3, 64, 7, 2)},
    {"r18_3x3_64_64@56", square(56, 64, 64, 3)},
    {"r18_3x3_128_128@28", square(28, 128, 128, 3)},
    {"r18_3x3_256_256@14", square(14, 256, 256, 3)},
    {"r18_3x3_512_512@7", square(7, 512, 512, 3)},
    {"nin_gc_3x3_256_512_g16@16", square(16, 256, 512, 3, 1, 16)},
    {"nin_gc_1x1_512_512_g4@16", square(16, 512, 512, 1, 1, 4)},
    {"depthwise_3x3_128@28", square(28, 128, 128, 3, 1, 128)},
};

enum class Pass { forward, data_gradient, weight_gradient };

void conv(benchmark::State& state, const ConvShape& s, Pass pass) {
  Rng rng(1);
  const Tensor x = Tensor::normal({s.images, s.height, s.width, s.in}, rng);
  const Tensor w = Tensor::normal({s.out, s.kernel_h, s.kernel_w, s.in / s.groups}, rng);
  const Tensor dy = Tensor::normal({s.images, s.out_h(), s.out_w(), s.out}, rng);
  for (auto _ : state) {
    Tensor result;
    switch (pass) {
      case Pass::forward:
        result = conv_forward(s, x, w, {}, dy.shape());
        break;
      case Pass::data_gradient:
        result = conv_data_gradient(s, dy, w, {}, x.shape());
        break;
      case Pass::weight_gradient:
        result = conv_weight_gradient(s, x, dy, w.shape(), nullptr);
        break;
    }
    benchmark::DoNotOptimize(result.data());
  }
  const double flops =
      2.0 * static_cast<double>(s.macs()) * static_cast<double>(state.iterations());
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsRate);
  state.counters["%peak"] =
      benchmark::Counter(100 * flops / kernels::peak_flops(0.01), benchmark::Counter::kIsRate);
}

const int registered = [] {
  const std::pair<const char*, Pass> passes[] = {{"forward", Pass::forward},
                                                 {"data_gradient", Pass::data_gradient},
                                                 {"weight_gradient", Pass::weight_gradient}};
  for (const auto& [pass_name, pass] : passes) {
    for (const Layer& layer : kLayers) {
      benchmark::RegisterBenchmark(
          ("conv/" + std::string(pass_name) + "/" + layer.name).c_str(),
          [&layer, p = pass](benchmark::State& st) { conv(st, layer.s, p); })
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
  return 0;
}();

}  // namespace
