// Whole training steps and forward passes of models on noise, float32 and quantized. For images/s
// as a share of the peak, and for memory: `pare bench train`.

#include <benchmark/benchmark.h>

#include "core/autograd.h"
#include "core/ops.h"
#include "models/models.h"
#include "nn/optim.h"
#include "quant/attach.h"
#include "quant/scheme.h"

namespace pare {
namespace {

struct Case {
  const char* model;
  const char* quant;  // a scheme; "float": none
  int64_t size, batch;
};
constexpr Case kCases[] = {
    {"nin", "float", 32, 32},          {"nin", "wbab:W2A2", 32, 32},
    {"nin", "dorefa:W4A4", 32, 32},    {"nin", "iao:W8A8", 32, 32},
    {"nin_gc", "float", 32, 32},       {"nin_gc", "wbab:W2A2", 32, 32},
    {"resnet20", "float", 32, 64},     {"resnet20", "lsq:W4A4", 32, 64},
    {"resnet20", "pact:W4A4", 32, 64}, {"resnet18", "float", 224, 4},
    {"resnet18", "lsq:W4A4", 224, 4},
};

nn::Layer build(const Case& c, Rng& rng) {
  nn::Layer model = models::make(c.model, {.image = {c.size, c.size, 3}});
  nn::init(model, rng, models::init_options(c.model));
  if (std::string(c.quant) != "float") {
    quant::apply(model, quant::parse_scheme(c.quant), Tensor::zeros({1, c.size, c.size, 3}));
  }
  return model;
}

Tensor noise(const Case& c, Rng& rng) { return Tensor::normal({c.batch, c.size, c.size, 3}, rng); }

void count_images(benchmark::State& state, int64_t batch) {
  state.counters["images/s"] = benchmark::Counter(static_cast<double>(batch * state.iterations()),
                                                  benchmark::Counter::kIsRate);
}

void train(benchmark::State& state, const Case& c) {
  Rng rng(1);
  nn::Layer model = build(c, rng);
  nn::set_training(model, true);
  const Tensor images = noise(c, rng);
  Tensor labels = Tensor::uninit({c.batch});
  for (float& label : labels.span()) label = static_cast<float>(rng.below(10));
  const auto optimizer = nn::sgd(nn::param_groups(model, 0.0f), {.lr = 1e-3f, .momentum = 0.9f});
  for (auto _ : state) {
    optimizer->zero_grad();
    const Tensor loss = cross_entropy(model(images), labels);
    loss.backward();
    optimizer->step();
    benchmark::DoNotOptimize(loss.item());
  }
  count_images(state, c.batch);
}

void infer(benchmark::State& state, const Case& c) {
  Rng rng(1);
  nn::Layer model = build(c, rng);
  const Tensor images = noise(c, rng);
  {  // quantizers take their ranges from a first batch
    nn::set_training(model, true);
    model(images).data();
    nn::set_training(model, false);
  }
  const NoGrad guard;
  for (auto _ : state) benchmark::DoNotOptimize(model(images).data());
  count_images(state, c.batch);
}

const int registered = [] {
  using Run = void (*)(benchmark::State&, const Case&);
  for (const auto& [name, run] : {std::pair<const char*, Run>{"train", train}, {"infer", infer}}) {
    for (const Case& c : kCases) {
      const std::string title = std::string("step/") + name + "/" + c.model + "/" + c.quant;
      benchmark::RegisterBenchmark(title.c_str(),
                                   [f = run, &c](benchmark::State& state) { f(state, c); })
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
  return 0;
}();

}  // namespace
}  // namespace pare
