#include "quant/bn_tuning.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <utility>

#include "core/autograd.h"
#include "nn/layers.h"
#include "nn/text.h"
#include "quant/grid_quantizer.h"

namespace pare::quant {

namespace {

std::map<std::string, nn::BatchNorm2d*> norms_of(nn::Layer& model) {
  std::map<std::string, nn::BatchNorm2d*> norms;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    if (auto* bn = layer.as<nn::BatchNorm2d>()) norms[path] = bn;
  });
  return norms;
}

using Norms = std::map<std::string, nn::BatchNorm2d*>;

struct Statistics {
  Tensor mean, var;
};
using AllStatistics = std::map<std::string, Statistics>;

AllStatistics running(const Norms& norms) {
  AllStatistics all;
  for (const auto& [path, bn] : norms) {
    all[path] = {bn->running_mean.clone(), bn->running_var.clone()};
  }
  return all;
}

/// Batch norms learn statistics while this lives.
class Learning {
 public:
  explicit Learning(const Norms& norms) {
    for (const auto& entry : norms) {
      before_.push_back({entry.second, entry.second->training, entry.second->opt.momentum});
      entry.second->training = true;
    }
  }
  ~Learning() {
    for (const State& s : before_) {
      s.norm->training = s.training;
      s.norm->opt.momentum = s.momentum;
    }
  }
  Learning(const Learning&) = delete;
  Learning& operator=(const Learning&) = delete;

  void set_momentum(float momentum) {
    for (const State& s : before_) s.norm->opt.momentum = momentum;
  }

 private:
  struct State {
    nn::BatchNorm2d* norm;
    bool training;
    float momentum;
  };
  std::vector<State> before_;
};

/// Quantizers pass values on while this lives, but for those that stand for a nonlinearity.
class QuantizersOff {
 public:
  explicit QuantizersOff(nn::Layer& model) {
    nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
      auto* q = layer.as<Quantizer>();
      if (!q || !(q->wants_calibration() || path.ends_with("weight_fn"))) return;
      before_.push_back({q, q->mode});
      q->mode = Quantizer::Mode::off;
    });
  }
  ~QuantizersOff() {
    for (const auto& [quantizer, mode] : before_) quantizer->mode = mode;
  }
  QuantizersOff(const QuantizersOff&) = delete;
  QuantizersOff& operator=(const QuantizersOff&) = delete;

 private:
  std::vector<std::pair<Quantizer*, Quantizer::Mode>> before_;
};

/// Leaves in the norms what they learn from these batches; all of them at once, as in training.
void learn(nn::Layer& model, const Norms& norms, const std::vector<Tensor>& batches,
           float momentum) {
  const NoGrad guard;
  const nn::EvalMode eval(model);
  Learning learning(norms);
  for (size_t i = 0; i < batches.size(); ++i) {
    // The i-th of all has a share of 1 / (i + 1): after the last one, each has the same.
    learning.set_momentum(momentum > 0 ? momentum : 1 / static_cast<float>(i + 1));
    model(batches[i]).data();
  }
}

/// m + m_q - m_f and v v_q / v_f; the norm holds m_q and v_q.
void keep_change(nn::BatchNorm2d& bn, const Statistics& before, const Statistics& floating) {
  float *mean = bn.running_mean.data(), *var = bn.running_var.data();
  for (int64_t c = 0; c < bn.running_mean.numel(); ++c) {
    mean[c] += before.mean.data()[c] - floating.mean.data()[c];
    const float eps = bn.opt.eps;  // a channel that is constant stays
    var[c] = before.var.data()[c] * ((var[c] + eps) / (floating.var.data()[c] + eps));
  }
}

BnTuningReport::Row row_of(const std::string& path, const nn::BatchNorm2d& bn, const Tensor& mean,
                           const Tensor& var) {
  const int64_t channels = mean.numel();
  double shift = 0, ratio = 0;
  for (int64_t c = 0; c < channels; ++c) {
    const double v = double{var.data()[c]} + bn.opt.eps;
    const double moved = double{bn.running_mean.data()[c]} - mean.data()[c];
    shift += moved * moved / v;
    ratio += std::log((double{bn.running_var.data()[c]} + bn.opt.eps) / v);
  }
  const auto n = static_cast<double>(channels);
  return {path, channels, std::sqrt(shift / n), std::exp(ratio / n)};
}

/// The tensors that say what a filter's codes mean.
struct Scales final : nn::Visitor {
  Tensor scale, zero;
  bool others = false;  // that would have to follow, too

 private:
  void take(std::string_view name, Tensor& t) {
    if (name == "scale" || name == "step") {
      scale = t;
    } else if (name == "zero") {
      zero = t;
    } else if (name != "calibrated" && name != "codes") {
      others = true;
    }
  }
  void on_parameter(std::string_view name, Tensor& t) override { take(name, t); }
  void on_buffer(std::string_view name, Tensor& t) override { take(name, t); }
};

Scales scales_of(const nn::Layer& quantizer) {
  Scales scales;
  quantizer.visit(scales);
  return scales;
}

/// Whether each filter has a scale that can follow a factor.
bool scalable(const nn::Layer& quantizer) {
  const auto* grid = quantizer.as<GridQuantizer>();
  if (!grid || grid->share != QuantShare::filter || grid->calibrated.item() == 0) return false;
  const Scales s = scales_of(quantizer);
  return s.scale && !s.others && s.scale.numel() == grid->groups;
}

void scale_by(const nn::Layer& quantizer, const std::vector<float>& factors) {
  Scales s = scales_of(quantizer);
  const Grid grid = quantizer.as<GridQuantizer>()->grid();
  float *scale = s.scale.data(), *zero = s.zero ? s.zero.data() : nullptr;
  for (size_t c = 0; c < factors.size(); ++c) {
    if (factors[c] != 0) scale[c] *= std::fabs(factors[c]);  // zero weights need no scale
    if (factors[c] < 0 && zero) zero[c] = grid.lo + grid.hi - zero[c];
  }
}

std::vector<float> factors_of(const nn::BatchNorm2d& bn, FoldRule rule) {
  std::vector<float> all;
  for (int64_t c = 0; c < bn.running_mean.numel(); ++c) {
    const double gamma = bn.weight ? bn.weight.data()[c] : 1.0;
    const double k = gamma / std::sqrt(double{bn.running_var.data()[c]} + bn.opt.eps);
    all.push_back(rule == FoldRule::scale ? static_cast<float>(k)
                                          : static_cast<float>((k > 0) - (k < 0)));
  }
  return all;
}

/// f(path, socket) for the weights of every convolution and linear layer.
template <class F>
void for_each_weight_socket(nn::Layer& model, F&& f) {
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    if (auto* conv = layer.as<nn::Conv2d>()) f(path, conv->weight_fn);
    if (auto* linear = layer.as<nn::Linear>()) f(path, linear->weight_fn);
  });
}

/// What is known of a batch norm before it is folded away.
struct Factors {
  std::vector<float> scale, sign;
};

}  // namespace

BnTuningReport tune_bn(nn::Layer& model, const std::vector<Tensor>& batches,
                       const BnTuningOptions& options) {
  PARE_CHECK(!batches.empty(), "tune_bn: no images");
  PARE_CHECK(options.momentum >= 0 && options.momentum <= 1,
             "tune_bn: momentum must be in 0..1, got ", options.momentum);
  PARE_CHECK(options.anew || options.momentum == 0,
             "tune_bn: a momentum is for statistics that are learned anew");
  const Norms norms = norms_of(model);
  PARE_CHECK(!norms.empty(), "tune_bn: the model has no batch norm",
             hint("tune before batch norm is folded"));
  const AllStatistics before = running(norms);
  AllStatistics floating;
  if (!options.anew) {
    const QuantizersOff off(model);
    learn(model, norms, batches, 0);
    floating = running(norms);
  }
  learn(model, norms, batches, options.momentum);
  BnTuningReport report;
  for (const auto& [path, bn] : norms) {
    if (!options.anew) keep_change(*bn, before.at(path), floating.at(path));
    report.rows.push_back(row_of(path, *bn, before.at(path).mean, before.at(path).var));
  }
  return report;
}

FoldReport fold_bn_with_scales(nn::Layer& model, const Tensor& example) {
  std::map<std::string, Factors> factors;
  for (const auto& entry : norms_of(model)) {
    factors[entry.first] = {factors_of(*entry.second, FoldRule::scale),
                            factors_of(*entry.second, FoldRule::sign)};
  }
  // Out of the way: fold_bn leaves alone what a quantizer would not follow.
  std::map<std::string, nn::Layer> taken;
  for_each_weight_socket(model, [&](const std::string& path, nn::Layer& socket) {
    if (socket && scalable(socket)) taken[path] = std::exchange(socket, {});
  });
  const auto put_back = [&] {
    for_each_weight_socket(model, [&](const std::string& path, nn::Layer& socket) {
      if (const auto it = taken.find(path); it != taken.end()) socket = std::move(it->second);
    });
  };
  FoldReport report;
  try {
    report = fold_bn(model, example);
  } catch (...) {
    put_back();
    throw;
  }
  for (const FoldReport::Row& row : report.rows) {
    const auto it = row.folded() ? taken.find(row.into) : taken.end();
    if (it == taken.end()) continue;
    const Factors& f = factors.at(row.norm);
    scale_by(it->second, row.rule == FoldRule::scale ? f.scale : f.sign);
  }
  put_back();
  nn::assign_paths(model);
  return report;
}

std::ostream& operator<<(std::ostream& out, const BnTuningReport& report) {
  std::vector<std::vector<std::string>> lines{
      {"batch norm", "channels", "mean moved by", "variance times"}};
  for (const BnTuningReport::Row& r : report.rows) {
    lines.push_back({r.path, std::to_string(r.channels), fmt::format("{:.4f} sigma", r.mean_shift),
                     fmt::format("{:.4f}", r.var_ratio)});
  }
  return out << nn::columns(lines);
}

}  // namespace pare::quant
