#include "nn/init.h"

#include <cmath>

#include "nn/layers.h"

namespace pare::nn {

namespace {

struct Fans {
  double in, out;
};

/// As PyTorch counts them: all but the first axis, and the first axis times the kernel window.
Fans fans(const Tensor& w) {
  PARE_CHECK(w.dims() >= 2, "init: a weight with fans has at least 2 dimensions, got ", w.shape());
  const double in = static_cast<double>(w.numel() / w.dim(0));
  return {in, in / static_cast<double>(w.dim(-1)) * static_cast<double>(w.dim(0))};
}

double gain_of(float slope) { return std::sqrt(2.0 / (1.0 + double{slope} * slope)); }

void uniform_(Tensor& w, Rng& rng, double bound) {
  w.uniform_(rng, static_cast<float>(-bound), static_cast<float>(bound));
}

}  // namespace

void xavier_uniform_(Tensor& w, Rng& rng, float gain) {
  const Fans f = fans(w);
  uniform_(w, rng, gain * std::sqrt(6.0 / (f.in + f.out)));
}

void xavier_normal_(Tensor& w, Rng& rng, float gain) {
  const Fans f = fans(w);
  w.normal_(rng, 0.0f, static_cast<float>(gain * std::sqrt(2.0 / (f.in + f.out))));
}

void kaiming_normal_(Tensor& w, Rng& rng, Fan fan, float slope) {
  const Fans f = fans(w);
  const double n = fan == Fan::in ? f.in : f.out;
  w.normal_(rng, 0.0f, static_cast<float>(gain_of(slope) / std::sqrt(n)));
}

void kaiming_uniform_(Tensor& w, Rng& rng, Fan fan, float slope) {
  const Fans f = fans(w);
  uniform_(w, rng, gain_of(slope) * std::sqrt(3.0 / (fan == Fan::in ? f.in : f.out)));
}

void dirac_(Tensor& w, int groups) {
  PARE_CHECK(w.dims() == 4, "dirac: needs a conv weight, got ", w.shape());
  PARE_CHECK(groups > 0 && w.dim(0) % groups == 0, "dirac: ", w.dim(0),
             " filters cannot be cut into ", groups, " groups");
  w.fill_(0.0f);
  const int64_t out = w.dim(0) / groups, kh = w.dim(1), kw = w.dim(2), in = w.dim(3);
  float* p = w.data();
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t i = 0; i < std::min(out, in); ++i) {
      p[(((g * out + i) * kh + kh / 2) * kw + kw / 2) * in + i] = 1.0f;
    }
  }
}

namespace {

/// FNV-1a: the stream of a path.
uint64_t hash(const std::string& text) {
  uint64_t h = 14695981039346656037ull;
  for (unsigned char c : text) h = (h ^ c) * 1099511628211ull;
  return h;
}

/// One independent stream per tensor, by its path.
struct Filler {
  const InitOptions& options;
  Rng streams;

  void weight(const std::string& path, Tensor& w, Scheme scheme, int groups) const {
    Rng rng = streams.split(hash(path + ".weight"));
    switch (scheme) {
      case Scheme::xavier_uniform:
        return xavier_uniform_(w, rng);
      case Scheme::xavier_normal:
        return xavier_normal_(w, rng);
      case Scheme::kaiming_normal:
        return kaiming_normal_(w, rng);
      case Scheme::kaiming_uniform:
        return kaiming_uniform_(w, rng, Fan::in, std::sqrt(5.0f));
      case Scheme::dirac:
        return dirac_(w, groups);
    }
  }

  void bias(const std::string& path, Tensor& b, const Tensor& w) const {
    if (!b) return;
    Rng rng = streams.split(hash(path + ".bias"));
    const double bound = options.zero_bias ? 0.0 : 1.0 / std::sqrt(fans(w).in);
    uniform_(b, rng, bound);
  }

  void linear(const std::string& path, Linear& layer) const {
    if (options.linear_normal > 0) {
      Rng rng = streams.split(hash(path + ".weight"));
      layer.weight.normal_(rng, 0.0f, options.linear_normal);
    } else {
      weight(path, layer.weight, options.linear, 1);
    }
    bias(path, layer.bias, layer.weight);
  }
};

void fill_norm(Tensor& weight, Tensor& bias) {
  if (weight) weight.fill_(1.0f);
  if (bias) bias.fill_(0.0f);
}

}  // namespace

void init(Layer& model, Rng& rng, const InitOptions& options) {
  const Filler filler{options, rng.split(rng.next())};
  for_each_layer(model, [&](const std::string& path, Layer& layer) {
    if (auto* conv = layer.as<Conv2d>()) {
      filler.weight(path, conv->weight, options.conv, conv->opt.groups);
      filler.bias(path, conv->bias, conv->weight);
    } else if (auto* up = layer.as<ConvTranspose2d>()) {
      filler.weight(path, up->weight, options.conv, up->opt.groups);
      filler.bias(path, up->bias, up->weight);
    } else if (auto* full = layer.as<Linear>()) {
      filler.linear(path, *full);
    } else if (auto* bn = layer.as<BatchNorm2d>()) {
      fill_norm(bn->weight, bn->bias);
      bn->running_mean.fill_(0.0f);
      bn->running_var.fill_(1.0f);
    } else if (auto* ln = layer.as<LayerNorm>()) {
      fill_norm(ln->weight, ln->bias);
    } else if (auto* dropout = layer.as<Dropout>()) {
      dropout->rng = filler.streams.split(hash(path));
    }
  });
}

}  // namespace pare::nn
