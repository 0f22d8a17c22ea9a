#include "quant/conv_bn.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/autograd.h"
#include "nn/trace.h"

namespace pare::quant {

namespace {

/// [C] -> one factor per filter of a weight.
Tensor per_filter(const Tensor& t) { return t.reshape({t.numel(), 1, 1, 1}); }

/// gamma / sqrt(var + eps); an absent gamma is 1.
Tensor factor(const nn::BatchNorm2d& bn, const Tensor& deviation) {
  return bn.weight ? bn.weight / deviation : 1.0f / deviation;
}

/// beta + (b - mean) k, with or without beta and b.
Tensor shift(const nn::Conv2d& c, const nn::BatchNorm2d& bn, const Tensor& mean, const Tensor& k) {
  const Tensor y = (c.bias ? c.bias - mean : -mean) * k;
  return bn.bias ? y + bn.bias : y;
}

Tensor running_deviation(const nn::BatchNorm2d& bn) { return sqrt(bn.running_var + bn.opt.eps); }

void update_running(nn::BatchNorm2d& bn, const Tensor& mean, const Tensor& var, int64_t rows) {
  const float m = bn.opt.momentum;
  const float unbiased =
      static_cast<float>(rows) / static_cast<float>(std::max<int64_t>(rows - 1, 1));
  float *to_mean = bn.running_mean.data(), *to_var = bn.running_var.data();
  for (int64_t i = 0; i < mean.numel(); ++i) {
    to_mean[i] = (1 - m) * to_mean[i] + m * mean.data()[i];
    to_var[i] = (1 - m) * to_var[i] + m * unbiased * var.data()[i];
  }
}

/// A batch norm that looks only at what it has learned, with the state of the original.
struct FrozenNorm final : nn::Module {
  explicit FrozenNorm(nn::BatchNorm2d original) : norm(std::move(original)) {}
  Tensor forward(const Tensor& x) override {
    return batch_norm(x, norm.weight, norm.bias, norm.running_mean, norm.running_var,
                      {.train = false, .momentum = norm.opt.momentum, .eps = norm.opt.eps});
  }
  void visit(nn::Visitor& v) override { norm.visit(v); }
  std::string describe() const override { return "Frozen" + norm.describe(); }

  nn::BatchNorm2d norm;
};

}  // namespace

ConvBn::ConvBn(nn::Conv2d c, nn::BatchNorm2d n, BnFusion f)
    : conv(std::move(c)), norm(std::move(n)), fusion(f) {
  PARE_CHECK(norm.as<nn::BatchNorm2d>()->running_mean.numel() == conv.as<nn::Conv2d>()->opt.out,
             "ConvBn: the batch norm has ", norm.as<nn::BatchNorm2d>()->running_mean.numel(),
             " channels, the convolution ", conv.as<nn::Conv2d>()->opt.out);
}

Tensor ConvBn::folded_weight() const {
  const auto& c = *conv.as<nn::Conv2d>();
  const auto& bn = *norm.as<nn::BatchNorm2d>();
  return c.weight * per_filter(factor(bn, running_deviation(bn)));
}

Tensor ConvBn::folded_bias() const {
  const auto& c = *conv.as<nn::Conv2d>();
  const auto& bn = *norm.as<nn::BatchNorm2d>();
  return shift(c, bn, bn.running_mean, factor(bn, running_deviation(bn)));
}

Tensor ConvBn::fused(const Tensor& x) {
  auto& c = *conv.as<nn::Conv2d>();
  auto& bn = *norm.as<nn::BatchNorm2d>();
  const ConvOptions o{c.opt.stride, c.opt.pad, c.opt.dilation, c.opt.groups};
  const Tensor y0 = conv2d(x, c.weight, c.bias, o);
  const Tensor m = mean(y0, {0, 1, 2}), v = var(y0, {0, 1, 2}, false, 0);
  update_running(bn, m, v, y0.numel() / m.numel());
  const Tensor deviation = sqrt(v + bn.opt.eps), k = factor(bn, deviation);
  const bool corrected = fusion == BnFusion::corrected;
  const Tensor running = running_deviation(bn).detach();
  const Tensor f = corrected ? factor(bn, running) : k;
  const Tensor y = conv2d(c.input_fn(x), c.weight_fn(c.weight * per_filter(f)), {}, o);
  return (corrected ? y * (running / deviation) : y) + shift(c, bn, m, k);
}

Tensor ConvBn::forward(const Tensor& x) {
  if (training && !frozen) return fused(x);
  auto& c = *conv.as<nn::Conv2d>();
  return conv2d(c.input_fn(x), c.weight_fn(folded_weight()), folded_bias(),
                {c.opt.stride, c.opt.pad, c.opt.dilation, c.opt.groups, training});
}

std::string ConvBn::describe() const {
  return str("ConvBn(", fusion == BnFusion::corrected ? "corrected" : "batch",
             frozen ? ", frozen" : "", ")");
}

std::vector<std::string> fuse_bn(nn::Layer& model, const Tensor& example, BnFusion fusion) {
  PARE_CHECK(model, "fuse_bn: the model is empty");
  const nn::Graph g = nn::trace(model, example);
  std::map<std::string, std::string> norm_of;  // by convolution
  std::map<const nn::Module*, int> uses;
  for (const auto& n : g.nodes) uses[n.module] += n.op == "conv2d" || n.op == "batch_norm";
  for (int i = 0; i < g.size(); ++i) {
    if (g[i].op != "batch_norm" || !g[i].as<nn::BatchNorm2d>()) continue;
    const int source = g.input_of(i, 0);
    if (source == nn::Graph::kNone || source == g.output) continue;
    const auto& conv = g[source];
    const bool alone = conv.users.size() == 1 && uses[conv.module] == 1 && uses[g[i].module] == 1;
    if (conv.op == "conv2d" && conv.as<nn::Conv2d>() && alone) norm_of[conv.path] = g[i].path;
  }
  std::map<std::string, nn::BatchNorm2d> norms;
  std::set<std::string> wanted;
  for (const auto& [conv, norm] : norm_of) wanted.insert(norm);
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    if (!wanted.count(path)) return;
    norms.emplace(path, *layer.as<nn::BatchNorm2d>());
    layer = {};
  });
  std::vector<std::string> fused;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    const auto it = norm_of.find(path);
    if (it == norm_of.end() || !layer.as<nn::Conv2d>()) return;
    const bool training = layer->training;
    layer = ConvBn(std::move(*layer.as<nn::Conv2d>()), norms.at(it->second), fusion);
    nn::set_training(layer, training);
    fused.push_back(path);
  });
  nn::assign_paths(model);
  return fused;
}

void settle_bn(nn::Layer& model) {
  const NoGrad guard;
  nn::for_each_layer(model, [](const std::string&, nn::Layer& layer) {
    auto* both = layer.as<ConvBn>();
    if (!both) return;
    const Tensor weight = both->folded_weight(), bias = both->folded_bias();
    nn::Conv2d plain = std::move(*both->conv.as<nn::Conv2d>());
    const bool learned = plain.weight.requires_grad();
    plain.weight = weight.clone().requires_grad_(learned);
    plain.bias = bias.clone().requires_grad_(learned);
    plain.opt.bias = true;
    const bool training = layer->training;
    layer = std::move(plain);
    nn::set_training(layer, training);
  });
  nn::assign_paths(model);
}

void freeze_norms(nn::Layer& model) {
  std::set<const nn::Layer*> inside;
  nn::for_each_layer(model, [&](const std::string&, nn::Layer& layer) {
    if (auto* both = layer.as<ConvBn>()) {
      both->frozen = true;
      inside.insert(&both->norm);
    } else if (auto* bn = layer.as<nn::BatchNorm2d>(); bn && !inside.count(&layer)) {
      const bool training = layer->training;
      layer = FrozenNorm(std::move(*bn));
      layer->training = training;
    }
  });
  nn::assign_paths(model);
}

}  // namespace pare::quant
