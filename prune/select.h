#pragma once
// From scores to a plan.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "prune/criterion.h"
#include "prune/plan.h"

namespace pare::prune {

/// The share of the channels of some layers to remove.
struct LayerShare {
  std::string pattern;  // a layer's path, * stands for anything
  double percent = 0;   // 0: they stay whole

  bool operator==(const LayerShare&) const = default;
};
/// "conv1:0+layer3.*:0.3"
std::vector<LayerShare> parse_shares(const std::string& text);

enum class Spread {
  method,  // global for criteria that compare across layers, else layer
  global,  // the channels with the lowest scores, wherever they are
  layer    // the same share of each layer
};

struct PlanOptions {
  double percent = 0.5;  // of the channels that the criterion judges: to be removed
  /// Instead of percent: the share of the whole model's that may be left.
  std::optional<double> macs = {}, params = {}, bytes = {}, latency = {};
  /// For latency: seconds of the model with these channels (prune/latency.h), and of the model that
  /// the share is of.
  std::function<double(const Keep&)> seconds = {};
  double full_seconds = 0;
  Spread spread = Spread::method;
  std::vector<LayerShare> layers = {};  // not subject to percent; of several that fit, the last
  int64_t min_channels = 1;             // of each layer
  /// Regular pruning: more than so many channels are rounded to the nearest multiple of it, and
  /// capped at the width of the layer.
  int64_t regular = 1;
  /// Pruning in steps: the network before the first one, of which percent, shares of layers and
  /// targets are meant. It must outlive the options.
  const Structure* of = nullptr;
};

/// Throws on what makes no sense for any model, or names a layer that this one does not have.
void check(const PlanOptions& options, const Structure& structure);

/// Chooses what stays. No layer is left empty; layers that cannot give what was asked for say why.
/// Throws if a target is out of reach. `model` and `example` are those of the structure.
Plan select(const CriterionInfo& criterion, const Scores& scores, const Structure& structure,
            const nn::Layer& model, const Tensor& example, const PlanOptions& options);

}  // namespace pare::prune
