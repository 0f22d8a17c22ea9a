#pragma once
// Filling parameters. Constructors allocate; init(model, rng) fills, one independent stream per
// path, so adding a layer does not change the others.

#include "nn/module.h"

namespace pare::nn {

enum class Fan { in, out };

/// U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)).  Glorot & Bengio 2010
void xavier_uniform_(Tensor& w, Rng& rng, float gain = 1.0f);
void xavier_normal_(Tensor& w, Rng& rng, float gain = 1.0f);
/// N(0, gain^2 / fan), gain = sqrt(2 / (1 + slope^2)).  He et al. 2015
void kaiming_normal_(Tensor& w, Rng& rng, Fan fan = Fan::out, float slope = 0.0f);
/// U(-a, a), a = gain sqrt(3 / fan)
void kaiming_uniform_(Tensor& w, Rng& rng, Fan fan = Fan::in, float slope = 0.0f);
/// The identity convolution on the first min(out, in) channels of each group, zero elsewhere.
void dirac_(Tensor& w, int groups = 1);

/// What fills a weight. kaiming_normal: over Fan::out, for ReLU. kaiming_uniform: over Fan::in with
/// slope sqrt(5), so U(+-1/sqrt(fan_in)), PyTorch's default. dirac: convolutions only.
enum class Scheme { xavier_uniform, xavier_normal, kaiming_normal, kaiming_uniform, dirac };

struct InitOptions {
  Scheme conv = Scheme::kaiming_normal;
  Scheme linear = Scheme::kaiming_uniform;
  float linear_normal = 0.0f;  // > 0: linear weights ~ N(0, this^2) instead
  bool zero_bias = true;       // else U(+-1/sqrt(fan_in))
};

/// Fills every Conv2d, ConvTranspose2d, Linear, BatchNorm2d and LayerNorm below and seeds every
/// Dropout. Takes one number from rng, so that two models filled in turn differ.
void init(Layer& model, Rng& rng, const InitOptions& options = {});

}  // namespace pare::nn
