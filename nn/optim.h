#pragma once
// Optimizers: one fused pass per parameter. Formulas and defaults are PyTorch's.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "nn/module.h"

namespace pare::nn {

/// Parameters that share settings.
struct ParamGroup {
  std::vector<NamedTensor> params;
  float weight_decay = 0.0f;
  float lr_scale = 1.0f;               // times the optimizer's learning rate
  std::optional<float> momentum = {};  // instead of the optimizer's, of sgd
};

/// One group, or two when decay_norm_and_bias is false: one-dimensional parameters (biases, batch
/// norm) then form a second group without weight decay.
std::vector<ParamGroup> param_groups(const Layer& model, float weight_decay,
                                     bool decay_norm_and_bias = true);

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  /// One update from the gradients; a parameter without gradient is left alone.
  void step();
  void zero_grad();
  float lr() const { return lr_; }
  void set_lr(float lr) { lr_ = lr; }
  int64_t steps() const { return steps_; }
  std::vector<ParamGroup>& groups() { return groups_; }

  /// Everything an exact resume needs: moments as "prefix + slot + . + parameter", how often a
  /// parameter was updated as "prefix + step. + parameter", how often step() was called as
  /// "prefix + steps".
  void save(safetensors::File& file, const std::string& prefix) const;
  /// Strict; nothing is changed on error.
  void load(const safetensors::File& file, const std::string& prefix);

 protected:
  /// Each parameter gets one tensor per slot ("momentum"; "m", "v"), zero at the start.
  Optimizer(std::vector<ParamGroup> groups, std::vector<std::string> slots, float lr);

  /// Changes p, of this group, and its slots; `step` counts this parameter's updates from 1.
  virtual void update(Tensor& p, const Tensor& grad, std::vector<Tensor>& slots, float lr,
                      const ParamGroup& group, int64_t step) = 0;

 private:
  struct State {
    std::vector<Tensor> slots;
    int64_t step = 0;
  };
  std::vector<ParamGroup> groups_;
  std::vector<std::string> slot_names_;
  std::map<std::string, State> state_;  // by parameter
  float lr_;
  int64_t steps_ = 0;
};

/// g += wd p;  v = mu v + (1 - dampening) g (first step: v = g);  p -= lr (nesterov ? g + mu v : v)
struct SgdOptions {
  float lr = 0.1f, momentum = 0.9f, dampening = 0.0f;
  bool nesterov = false;
};
std::unique_ptr<Optimizer> sgd(std::vector<ParamGroup> groups, const SgdOptions& options);

/// m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) +
/// eps) adam: g += wd p first (arXiv:1412.6980).  adamw: p -= lr wd p first (arXiv:1711.05101). The
/// betas are doubles because 1 - 0.999f is off by 5e-5 of itself.
struct AdamOptions {
  float lr = 1e-3f;
  double beta1 = 0.9, beta2 = 0.999;
  float eps = 1e-8f;
};
std::unique_ptr<Optimizer> adam(std::vector<ParamGroup> groups, const AdamOptions& options);
std::unique_ptr<Optimizer> adamw(std::vector<ParamGroup> groups, const AdamOptions& options);

/// Scales all gradients by max_norm / norm if their joint L2 norm is larger; returns the norm
/// before. Gradients whose norm is not finite are left as they are, for the caller to see.
float clip_grad_norm(const std::vector<ParamGroup>& groups, float max_norm);

/// Exponential moving average of weights and buffers: e = d e + (1 - d) w, where the decay d is
/// warmed up as min(decay, (1 + t) / (10 + t)), t updates done before.
class Ema {
 public:
  Ema(const Layer& model, float decay);
  void update();
  /// Exchanges averaged and live values: call before and after evaluating.
  void swap();
  /// Averages as "prefix + name" in the layout of weight files, and "prefix + num_updates".
  void save(safetensors::File& file, const std::string& prefix) const;
  /// Strict; nothing is changed on error.
  void load(const safetensors::File& file, const std::string& prefix);

 private:
  std::vector<NamedTensor> live_, average_;
  float decay_;
  int64_t updates_ = 0;
};

}  // namespace pare::nn
