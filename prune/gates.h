#pragma once
// Switches on channels, trained beside the weights: what training decides is then read as a plan
// and merged away, and a plain, smaller network is left. A gate wraps the batch norm behind a
// convolution whose channels are nobody else's.

#include <string>
#include <vector>

#include "core/rng.h"
#include "nn/layers.h"
#include "nn/optim.h"
#include "prune/plan.h"

namespace pare::prune {

struct Gate : nn::Module {
  explicit Gate(nn::Layer batch_norm) : norm(std::move(batch_norm)) {}

  /// By channel: whether it stays.
  virtual std::vector<bool> open() const = 0;
  /// Puts what the gate does into the convolution and the batch norm in front of it. Closed
  /// channels become zero.
  virtual void merge(nn::Conv2d& conv) = 0;

  nn::BatchNorm2d& batch_norm() const { return *norm.as<nn::BatchNorm2d>(); }
  int64_t channels() const { return batch_norm().running_mean.numel(); }

  nn::Layer norm;
};

/// Where a gate can stand.
struct GatePlace {
  std::string conv, norm;  // paths
  int group = 0;           // of the structure
};
/// Batch norms that directly follow a convolution without groups, which alone makes the channels.
std::vector<GatePlace> gate_places(const Structure& structure);

/// The gates of a model, in visiting order.
std::vector<Gate*> gates(const nn::Layer& model);

/// Puts gates in: "l0" (prune/l0.h) or "resrep" (prune/resrep.h). Throws where none can stand.
/// `rng` is what they draw from.
void add_gates(nn::Layer& model, const Tensor& example, const std::string& kind, const Rng& rng);
std::vector<std::string> gate_kinds();

/// The gates' parameters, in groups of their own behind the others, without weight decay.
/// Compactors are pulled steadily: with momentum 0.99, as ResRep has it.
void separate_gates(std::vector<nn::ParamGroup>& groups);

/// Merges all gates; what the model computes in eval mode stays the same but for channels that are
/// closed. Returns the plan that removes these: apply() it next.
Plan merge_gates(nn::Layer& model, const Tensor& example);

}  // namespace pare::prune
