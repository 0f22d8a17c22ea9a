#pragma once
// Small networks as training leaves them: batch norms with statistics of their own and scales of
// both signs, quantizers calibrated.

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/autograd.h"
#include "deploy/lower.h"
#include "deploy/runtime/session.h"
#include "models/models.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "quant/calibrate.h"
#include "quant/placement.h"
#include "quant/scheme.h"

namespace pare::test {

inline Tensor images(int64_t n, const Shape& image, uint64_t seed = 3) {
  Rng rng(seed);
  return Tensor::normal({n, image.dim(0), image.dim(1), image.dim(2)}, rng);
}

/// Statistics of batch norms from a forward in training mode; gammas around 1, every seventh of
/// them negative and every thirteenth 0.
inline void age(nn::Layer& model, const Shape& image, uint64_t seed = 11) {
  Rng rng(seed);
  nn::for_each_layer(model, [&](const std::string&, nn::Layer& layer) {
    auto* bn = layer.as<nn::BatchNorm2d>();
    if (!bn) return;
    bn->opt.momentum = 1;
    const Tensor gamma = Tensor::normal(bn->weight.shape(), rng);
    const Tensor beta = Tensor::normal(bn->weight.shape(), rng);
    for (int64_t c = 0; c < gamma.numel(); ++c) {
      const float size = 1 + 0.3f * gamma.data()[c];
      bn->weight.data()[c] = c % 13 == 12 ? 0.0f : c % 7 == 6 ? -size : size;
      bn->bias.data()[c] = 0.3f * beta.data()[c];
    }
  });
  NoGrad guard;
  nn::set_training(model, true);
  model(images(8, image, seed + 1));
  nn::set_training(model, false);
}

struct NetOptions {
  std::string model, scheme;
  models::Options options = {};
  bool sums = false;  // the scheme is one quantizer for all values, operands of sums too
  nn::InitOptions init = models::init_options(model);
};

inline nn::Layer net(const NetOptions& o) {
  nn::Layer model = models::make(o.model, o.options);
  Rng rng(1);
  nn::init(model, rng, o.init);
  age(model, o.options.image);
  if (o.scheme.empty()) return model;
  if (o.sums) {
    const auto spec = [&](quant::Role role, const std::string&, const quant::LayerInfo*) {
      return std::optional(quant::parse_spec(o.scheme, role));
    };
    const Tensor example = images(1, o.options.image);
    quant::place(model, quant::plan(model, example, {.spec = spec, .sums = true}).placements());
  } else {
    quant::apply(model, quant::parse_scheme(o.scheme));
  }
  if (quant::wants_calibration(model)) quant::calibrate(model, {images(16, o.options.image, 5)});
  nn::set_training(model, false);
  return model;
}

inline Tensor forward(nn::Layer& model, const Tensor& x) {
  NoGrad guard;
  const nn::EvalMode eval(model);
  return model(x);
}

inline Tensor run(runtime::Session& session, const Tensor& x) {
  Tensor y = Tensor::uninit({x.dim(0), session.output().numel()});
  session.run(x.data(), x.dim(0), y.data());
  return y;
}

inline int64_t argmax(const Tensor& y, int64_t row) {
  const int64_t n = y.dim(1);
  const float* p = y.data() + row * n;
  return std::max_element(p, p + n) - p;
}

/// The largest difference, as a part of the spread of the row it is in.
inline double largest_gap(const Tensor& y, const Tensor& want) {
  double worst = 0;
  for (int64_t i = 0; i < y.dim(0); ++i) {
    const float *a = y.data() + i * y.dim(1), *b = want.data() + i * y.dim(1);
    const auto [lo, hi] = std::minmax_element(b, b + y.dim(1));
    for (int64_t k = 0; k < y.dim(1); ++k) {
      worst = std::max(worst, double{std::fabs(a[k] - b[k])} / (*hi - *lo));
    }
  }
  return worst;
}

inline bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() &&
         !std::memcmp(a.data(), b.data(), static_cast<size_t>(a.numel()) * sizeof(float));
}

/// For the time of a test: kernels of one instruction set.
struct WithIsa {
  explicit WithIsa(const char* name) { runtime::force_instruction_set(name); }
  ~WithIsa() { runtime::force_instruction_set(nullptr); }
};

}  // namespace pare::test
