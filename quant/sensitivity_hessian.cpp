#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/ops.h"
#include "quant/attach.h"
#include "quant/sensitivity.h"

namespace pare::quant {

namespace {

/// A weight under probing.
struct Probed {
  Tensor weight, start, signs;
  float step = 0;  // e_l

  /// w = start + direction e v
  void move(float direction) {
    for (int64_t i = 0; i < weight.numel(); ++i) {
      weight.data()[i] = start.data()[i] + direction * step * signs.data()[i];
    }
  }
};

float rms(const Tensor& w) {
  double sum = 0;
  for (const float v : w.span()) sum += double{v} * v;
  return static_cast<float>(std::sqrt(sum / static_cast<double>(w.numel())));
}

/// Gradients of the mean loss over all images.
void gradients(const nn::Layer& model, const std::vector<Batch>& batches,
               std::vector<Probed>& weights) {
  for (Probed& p : weights) p.weight.zero_grad();
  int64_t images = 0;
  for (const Batch& b : batches) images += b.x.dim(0);
  for (const Batch& b : batches) {
    const float share = static_cast<float>(b.x.dim(0)) / static_cast<float>(images);
    (cross_entropy(model(b.x), b.y) * share).backward();
  }
}

double along_signs(const Probed& p) {
  double sum = 0;
  const Tensor& g = p.weight.grad();
  for (int64_t i = 0; i < g.numel(); ++i) sum += double{g.data()[i]} * p.signs.data()[i];
  return sum;
}

std::vector<Probed> probed(nn::Layer& model, const std::vector<std::string>& paths, float step) {
  std::vector<Probed> all;
  for (const std::string& path : paths) {
    const std::vector<LayerInfo> found = layers(model);
    const auto it = std::find_if(found.begin(), found.end(),
                                 [&](const LayerInfo& info) { return info.path == path; });
    PARE_CHECK(it != found.end(), "hessian_traces: the model has no layer ", path);
    Tensor w = it->weight();
    w.requires_grad_();
    // A layer of zeros moves too.
    all.push_back({w, w.clone(), Tensor::uninit(w.shape()), step * std::max(rms(w), 1e-3f)});
  }
  return all;
}

}  // namespace

std::vector<double> hessian_traces(const nn::Layer& model, const std::vector<std::string>& paths,
                                   const std::vector<Batch>& batches,
                                   const SensitivityOptions& options,
                                   const std::function<void(int64_t)>& progress) {
  PARE_CHECK(options.probes > 0 && options.step > 0,
             "hessian_traces: probes and step must be positive, got ", options.probes, " and ",
             options.step);
  PARE_CHECK(!batches.empty(), "hessian_traces: no images");
  nn::Layer copy = model;
  const nn::EvalMode eval(copy);
  nn::set_requires_grad(copy, false);
  std::vector<Probed> weights = probed(copy, paths, options.step);
  std::vector<double> traces(weights.size());
  Rng rng(options.seed);
  for (int64_t k = 0; k < options.probes; ++k) {
    for (Probed& p : weights) {
      for (float& v : p.signs.span()) v = rng.coin() ? 1.0f : -1.0f;
    }
    for (const float direction : {1.0f, -1.0f}) {
      for (Probed& p : weights) p.move(direction);
      gradients(copy, batches, weights);
      for (size_t i = 0; i < weights.size(); ++i) {
        traces[i] += direction * along_signs(weights[i]) / (2.0 * weights[i].step);
      }
    }
    if (progress) progress(k + 1);
  }
  for (double& t : traces) t /= static_cast<double>(options.probes);
  return traces;
}

}  // namespace pare::quant
