#include "prune/sparsity.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "nn/glob.h"
#include "nn/layers.h"

namespace pare::prune {

namespace {

Tensor* weight_of(const nn::Layer& layer) {
  if (auto* c = layer.as<nn::Conv2d>()) return &c->weight;
  if (auto* c = layer.as<nn::ConvTranspose2d>()) return &c->weight;
  if (auto* l = layer.as<nn::Linear>()) return &l->weight;
  return nullptr;
}

/// Zeroes all of these but the `keep` largest; of equal magnitudes the first stay.
void thin_out(std::span<float> values, int64_t keep) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto larger = [&](size_t a, size_t b) {
    const float x = std::fabs(values[a]), y = std::fabs(values[b]);
    return x != y ? x > y : a < b;
  };
  const auto end = order.begin() + std::min<int64_t>(keep, static_cast<int64_t>(values.size()));
  std::nth_element(order.begin(), end, order.end(), larger);
  for (auto it = end; it != order.end(); ++it) values[*it] = 0;
}

double sum(const Shape& s) { return std::accumulate(s.begin(), s.end(), 0.0); }

void check(const SparsityOptions& o) {
  PARE_CHECK(o.target >= 0 && o.target < 1, "prune: sparsity must be in 0..1 without 1, got ",
             o.target);
  PARE_CHECK(o.from >= 0 && o.from <= o.until && o.until <= 1,
             "prune: zeros must begin and be complete within the run, got ", o.from, " to ",
             o.until);
}

}  // namespace

Pattern parse_pattern(const std::string& text) {
  Pattern p;
  const char* const end = text.data() + text.size();
  auto read = std::from_chars(text.data(), end, p.n);
  const bool colon = read.ec == std::errc{} && read.ptr != end && *read.ptr == ':';
  if (colon) read = std::from_chars(read.ptr + 1, end, p.m);
  const bool whole = colon && read.ec == std::errc{} && read.ptr == end;
  PARE_CHECK(whole && p.n >= 1 && p.n < p.m, "prune: expected a pattern such as 2:4, got '", text,
             "'");
  return p;
}

std::vector<double> layer_sparsity(const std::vector<Shape>& weights, double target,
                                   Density density) {
  std::vector<double> zeros(weights.size(), target);
  if (density == Density::uniform) return zeros;
  // Layers that would keep more than they have stay whole; c is found anew for the others.
  std::vector<bool> whole(weights.size());
  for (bool found = false; !found;) {
    double keep = 0, dims = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      const auto count = static_cast<double>(weights[i].numel());
      keep += (1 - target) * count - (whole[i] ? count : 0);
      if (!whole[i]) dims += sum(weights[i]);
    }
    const double c = keep / dims;
    found = true;
    for (size_t i = 0; i < weights.size(); ++i) {
      zeros[i] = whole[i] ? 0 : 1 - c * sum(weights[i]) / static_cast<double>(weights[i].numel());
      if (zeros[i] < 0) whole[i] = true, found = false;
    }
  }
  return zeros;
}

double cubic_sparsity(double t, double from, double until) {
  if (t < from) return 0;
  if (t >= until) return 1;
  return 1 - std::pow(1 - (t - from) / (until - from), 3);
}

void keep_largest(Tensor& weight, int64_t keep) { thin_out(weight.span(), keep); }

void keep_pattern(Tensor& weight, const Pattern& p) {
  const std::span<float> values = weight.span();
  const auto row = static_cast<size_t>(weight.dim(-1));  // input channels are next to each other
  for (size_t at = 0; at < values.size();) {
    const size_t run = std::min<size_t>(static_cast<size_t>(p.m), row - at % row);
    thin_out(values.subspan(at, run), p.n);
    at += run;
  }
}

Sparsifier::Sparsifier(nn::Layer& model, SparsityOptions options) : options_(std::move(options)) {
  check(options_);
  std::vector<bool> used(options_.dense.size());
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    Tensor* w = weight_of(layer);
    if (!w) return;
    bool stays = false;
    for (size_t i = 0; i < used.size(); ++i) {
      if (nn::glob(options_.dense[i], path)) used[i] = stays = true;
    }
    if (stays) return;
    Masked m{*w, std::vector<bool>(static_cast<size_t>(w->numel()))};
    for (size_t i = 0; i < m.zero.size(); ++i) m.zero[i] = w->data()[i] == 0;
    weights_.push_back(std::move(m));
  });
  for (size_t i = 0; i < used.size(); ++i) {
    PARE_CHECK(used[i], "prune: no layer with weights is called ", options_.dense[i]);
  }
  PARE_CHECK(!weights_.empty(), "prune: no layer is left to be made sparse");
  std::vector<Shape> shapes;
  for (const Masked& m : weights_) shapes.push_back(m.weight.shape());
  const std::vector<double> zeros = layer_sparsity(shapes, options_.target, options_.density);
  for (size_t i = 0; i < weights_.size(); ++i) weights_[i].target = zeros[i];
}

void Sparsifier::update(double progress) {
  const double done = cubic_sparsity(progress, options_.from, options_.until);
  for (Masked& m : weights_) {
    for (size_t i = 0; i < m.zero.size(); ++i) {
      if (m.zero[i]) m.weight.data()[i] = 0;
    }
    const int64_t count = m.weight.numel();
    const auto zeros =
        static_cast<int64_t>(std::floor(static_cast<double>(count) * (m.target * done)));
    if (options_.pattern) {
      if (progress < options_.from) continue;
      keep_pattern(m.weight, *options_.pattern);
    } else if (zeros > std::count(m.zero.begin(), m.zero.end(), true)) {
      keep_largest(m.weight, count - zeros);
    } else {
      continue;
    }
    for (size_t i = 0; i < m.zero.size(); ++i) m.zero[i] = m.weight.data()[i] == 0;
  }
}

int64_t Sparsity::weights() const {
  return std::accumulate(rows.begin(), rows.end(), int64_t{0},
                         [](int64_t sum, const Row& r) { return sum + r.weights; });
}

int64_t Sparsity::zeros() const {
  return std::accumulate(rows.begin(), rows.end(), int64_t{0},
                         [](int64_t sum, const Row& r) { return sum + r.zeros; });
}

Sparsity sparsity(nn::Layer& model) {
  Sparsity s;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    const Tensor* w = weight_of(layer);
    if (!w) return;
    const std::span<const float> values = w->span();
    s.rows.push_back({path, w->numel(), std::count(values.begin(), values.end(), 0.0f)});
  });
  return s;
}

}  // namespace pare::prune
