#include "tests/golden/runs.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "models/models.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "quant/binary.h"

namespace pare::golden {

namespace {

// Rounding errors of these nets in float32 against float64, ours and PyTorch's: outputs of batch
// norm, and gradients relative to the largest of their tensor.
constexpr float kOutputError = 5e-7f, kGradientError = 5e-6f;

/// A batch norm whose output is off by what another order of summation may do to it: up to
/// kOutputError per channel (the mean) and per value (the convolution in front). Its output is of
/// order one.
struct Jitter final : nn::Module {
  Jitter(nn::Layer layer, Rng random, float size)
      : norm(std::move(layer)), rng(random), error(size) {}
  Tensor forward(const Tensor& x) override {
    constexpr int64_t kTable = 4099;  // a prime: the table meets every channel at every place
    norm->training = training;        // it is not visited itself
    const Tensor y = norm(x);
    const Tensor per_channel = Tensor::uniform({y.dim(-1)}, rng, -error, error);
    const Tensor table = Tensor::uniform({kTable}, rng, -error, error);
    Tensor noise = Tensor::uninit(y.shape());
    for (int64_t i = 0; i < y.numel(); ++i) noise.data()[i] = table.data()[i % kTable];
    return y + (noise + per_channel);
  }
  void visit(nn::Visitor& v) override { norm.visit(v); }  // names stay what they were
  std::string describe() const override { return "Jitter"; }

  nn::Layer norm;
  Rng rng;
  float error;
};

nn::Layer make_model(const Golden& g) {
  const std::string text = g.text("model");
  const size_t space = text.find(' '), cfg = text.find("cfg=");
  models::Options options;
  options.classes = g.raw("eval_logits").dim(1);
  options.order = g.text("order");
  if (cfg != std::string::npos) {
    Golden widths = g;
    widths.file.metadata["cfg"] = text.substr(cfg + 4);
    for (const float w : widths.list("cfg", {})) options.widths.push_back(static_cast<int64_t>(w));
  }
  return models::make(text.substr(0, space), options);
}

std::unique_ptr<nn::Optimizer> make_optimizer(const Golden& g, const nn::Layer& model) {
  const std::string name = g.text("optimizer");
  const float lr = g.number("lr", 0.01f);
  auto groups = nn::param_groups(model, g.number("weight_decay", 0.0f));
  if (name == "sgd") {
    return nn::sgd(std::move(groups), {.lr = lr, .momentum = g.number("momentum", 0.9f)});
  }
  PARE_CHECK(name == "adam" || name == "adamw", "optimizer '", name, "' is neither sgd nor adam");
  return name == "adam" ? nn::adam(std::move(groups), {.lr = lr})
                        : nn::adamw(std::move(groups), {.lr = lr});
}

/// Batch `step` of x [steps, N, C, H, W].
Tensor images(const Tensor& x, int64_t step) {
  const size_t n = static_cast<size_t>(x.numel() / x.dim(0));
  const auto values = x.span().subspan(static_cast<size_t>(step) * n, n);
  return nchw_to_nhwc(Tensor::of(values, {x.dim(1), x.dim(2), x.dim(3), x.dim(4)}));
}

/// Binary weights are stored as the last forward left them, before the optimizer moved them; the
/// files were written after an evaluation, which in the replaced system centres and clamps once
/// more.
void center_weights(nn::Layer& model) {
  nn::for_each_layer(model, [](const std::string&, nn::Layer& layer) {
    auto* conv = layer.as<nn::Conv2d>();
    if (conv && conv->weight_fn.as<quant::BinaryWeight>()) conv->weight_fn(conv->weight);
  });
}

/// Runs get all of the errors, half of them, a quarter or an eighth.
float share(uint64_t seed) { return 1.0f / static_cast<float>(1 << (seed % 4)); }

void perturb(nn::Layer& model, uint64_t seed) {
  std::vector<nn::Layer*> norms;
  nn::for_each_layer(model, [&](const std::string&, nn::Layer& layer) {
    if (layer.as<nn::BatchNorm2d>()) norms.push_back(&layer);
  });
  uint64_t stream = 0;
  for (nn::Layer* norm : norms)
    *norm = Jitter(std::move(*norm), Rng(seed, stream++), kOutputError * share(seed));
}

void perturb_gradients(nn::Layer& model, Rng& rng, float error) {
  for (const nn::NamedTensor& p : nn::parameters(model)) {
    Tensor g = p.tensor.grad();
    float largest = 0;
    for (const float v : g.span()) largest = std::max(largest, std::fabs(v));
    const Tensor noise = Tensor::uniform(g.shape(), rng, -error, error);
    for (int64_t i = 0; i < g.numel(); ++i) g.data()[i] += largest * noise.data()[i];
  }
}

}  // namespace

quant::Scheme scheme_of(const Golden& g) {
  const std::string model = g.text("model"),
                    name = g.stem.substr(model.substr(0, model.find(' ')).size());
  if (name.find("fp32") != std::string::npos) return {};
  const bool dorefa = name.find("dorefa") != std::string::npos;
  const auto w = number_after(name, dorefa ? 'w' : 'W'), a = number_after(name, dorefa ? 'a' : 'A');
  PARE_CHECK(w && a, "the name ", g.stem, " says neither fp32 nor W.A. nor dorefa_w.a.");
  return quant::parse_scheme(str(dorefa ? "wqaq:W" : "wbab:W", *w, "A", *a));
}

State stored_state(const Golden& g, const std::string& prefix) {
  nn::Layer model = make_model(g);
  nn::get_weights(g.file, model, g.stem, prefix);
  State copy;
  for (const auto& [name, t] : nn::state_dict(model)) copy[name] = t.clone();
  return copy;
}

Run train(const Golden& g, const quant::Scheme& scheme, uint64_t seed) {
  nn::Layer model = make_model(g);
  nn::get_weights(g.file, model, g.stem, "init.");
  quant::apply(model, scheme);
  if (seed) perturb(model, seed);
  nn::set_training(model, true);
  const auto optimizer = make_optimizer(g, model);
  const Tensor x = g.raw("x"), y = g.raw("y");
  Rng rng(seed, 999);
  Run run;
  for (int64_t step = 0; step < x.dim(0); ++step) {
    const size_t n = static_cast<size_t>(y.dim(1));
    const auto target = y.span().subspan(static_cast<size_t>(step) * n, n);
    const Tensor loss = cross_entropy(model(images(x, step)), Tensor::of(target, {y.dim(1)}));
    loss.backward();
    if (seed) perturb_gradients(model, rng, kGradientError * share(seed));
    optimizer->step();
    optimizer->zero_grad();
    run.losses.push_back(loss.item());
  }
  center_weights(model);
  for (const auto& [name, t] : nn::state_dict(model)) run.state[name] = t.clone();
  return run;
}

Tensor eval_logits(const Golden& g, const quant::Scheme& scheme, uint64_t seed) {
  nn::Layer model = make_model(g);
  nn::get_weights(g.file, model, g.stem, "final.");
  quant::apply(model, scheme);
  if (seed) perturb(model, seed);
  const nn::EvalMode eval(model);
  return no_grad([&] { return model(images(g.raw("x"), 0)); });
}

}  // namespace pare::golden
