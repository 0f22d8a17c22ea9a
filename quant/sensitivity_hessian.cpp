#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/ops.h"
#include "quant/attach.h"
#include "quant/sensitivity.h"

namespace pare::quant {

namespace {

/// B u for each row of z [N, classes], u random signs:  B = diag(sqrt p) - p sqrt(p)^T, p =
/// softmax(z), so that B B^T = diag(p) - p p^T, the Hessian of cross-entropy by z.
Tensor curvature_seed(const Tensor& z, Rng& rng) {
  const Tensor p = no_grad([&] { return softmax(z.detach()); });
  const int64_t classes = z.dim(1);
  Tensor seed = Tensor::uninit(z.shape());
  for (int64_t n = 0; n < z.dim(0); ++n) {
    const float* from = p.data() + n * classes;
    float* to = seed.data() + n * classes;
    double along = 0;  // sqrt(p) . u
    for (int64_t c = 0; c < classes; ++c) {
      to[c] = std::sqrt(from[c]) * (rng.coin() ? 1.0f : -1.0f);
      along += to[c];
    }
    for (int64_t c = 0; c < classes; ++c) to[c] -= from[c] * static_cast<float>(along);
  }
  return seed;
}

double squared_norm(const Tensor& t) {
  double sum = 0;
  for (const float v : t.span()) sum += double{v} * v;
  return sum;
}

std::vector<Tensor> weights_of(nn::Layer& model, const std::vector<std::string>& paths) {
  const std::vector<LayerInfo> found = layers(model);
  std::vector<Tensor> weights;
  for (const std::string& path : paths) {
    const auto it = std::find_if(found.begin(), found.end(),
                                 [&](const LayerInfo& info) { return info.path == path; });
    PARE_CHECK(it != found.end(), "hessian_traces: the model has no layer ", path);
    weights.push_back(it->weight());
  }
  return weights;
}

}  // namespace

std::vector<double> hessian_traces(const nn::Layer& model, const std::vector<std::string>& paths,
                                   const std::vector<Batch>& batches, int64_t probes, uint64_t seed,
                                   const std::function<void(int64_t)>& progress) {
  PARE_CHECK(probes > 0, "hessian_traces: probes must be positive, got ", probes);
  PARE_CHECK(!batches.empty(), "hessian_traces: no images");
  nn::Layer copy = model;
  const nn::EvalMode eval(copy);
  nn::set_requires_grad(copy, false);
  std::vector<Tensor> weights = weights_of(copy, paths);
  for (Tensor& w : weights) w.requires_grad_();
  std::vector<double> traces(weights.size());
  int64_t images = 0;
  for (const Batch& b : batches) images += b.x.dim(0);
  Rng rng(seed);
  for (int64_t k = 0; k < probes; ++k) {
    for (const Batch& b : batches) {
      const Tensor z = copy(b.x);
      z.backward(curvature_seed(z, rng));
      for (size_t i = 0; i < weights.size(); ++i) {
        traces[i] += squared_norm(weights[i].grad()) / static_cast<double>(images * probes);
        weights[i].zero_grad();
      }
    }
    if (progress) progress(k + 1);
  }
  return traces;
}

}  // namespace pare::quant
