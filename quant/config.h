#pragma once
// How to quantize a trained model, from a YAML file with the keys of Sparsebit, or from a scheme.
//
//   BACKEND: virtual                       # onnxruntime, tensorrt: refuse what they cannot compute
//   SKIP_TRACE_MODULES: ["layer3*"]        # modules left float
//   SCHEDULE: {FUSE_BN: True, BN_TUNING: False, DISABLE_UNNECESSARY_QUANT: True}
//   W:
//     QSCHEME: per-channel-symmetric       # per-(tensor|channel)-(symmetric|affine)
//     QUANTIZER: {TYPE: uniform, BIT: 4, DISABLE: False}
//     OBSERVER: {TYPE: MINMAX}
//     SPECIFIC: [{"conv1": ["QUANTIZER.BIT", 8], "linear": ["QUANTIZER.DISABLE", True]}]
//   A:
//     QSCHEME: per-tensor-affine
//     QUANTIZER: {TYPE: uniform, BIT: 4}
//     OBSERVER: {TYPE: PERCENTILE, PERCENTILE: {ALPHA: 0.001}}
//     QADD: {ENABLE_QUANT: False}          # operands of sums
//
// docs/quantize.md lists every key.

#include <memory>

#include "nn/yaml.h"
#include "quant/fold_bn.h"
#include "quant/placement.h"
#include "quant/scheme.h"

namespace pare::quant {

struct Config {
  bool fuse_bn = false;    // before anything is calibrated
  bool bn_tuning = false;  // batch norms are re-estimated with quantized weights, then folded
  PlacementRules rules = {};
};

/// Everything is checked that can be without a model; errors name the line.
Config parse_config(const nn::Yaml& file);
/// The same choices in a scheme: what replaces nonlinearities or fuses batch norm in training is
/// refused.
Config config_of(const Scheme& scheme);

/// What prepare() did.
struct Prepared {
  FoldReport folded = {};
  Plan plan = {};
  Report report = {};
};

/// Folds batch norms if the config says so, plans, and puts the quantizers in. calibrate() is next.
Prepared prepare(nn::Layer& model, const Config& config, const Tensor& example);

}  // namespace pare::quant
