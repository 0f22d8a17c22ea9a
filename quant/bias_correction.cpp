#include "quant/bias_correction.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <map>

#include "core/autograd.h"
#include "nn/text.h"
#include "quant/attach.h"
#include "quant/capture.h"

namespace pare::quant {

namespace {

/// Means of a layer's output by channel, over images and pixels; in double, in order.
struct Means {
  std::vector<double> sum;
  int64_t count = 0, calls = 0;

  void add(const Tensor& y) {
    const int64_t channels = y.dim(-1), rows = y.numel() / channels;
    sum.resize(static_cast<size_t>(channels));
    const float* from = y.data();
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < channels; ++c) sum[static_cast<size_t>(c)] += from[r * channels + c];
    }
    count += rows;
    ++calls;
  }
  double mean(size_t channel) const { return sum[channel] / static_cast<double>(count); }
};

const nn::Module& module_of(const LayerInfo& info) {
  return info.conv ? static_cast<const nn::Module&>(*info.conv) : *info.linear;
}

bool is_quantized(const nn::Layer& layer) {
  const auto* conv = layer.as<nn::Conv2d>();
  const auto* linear = layer.as<nn::Linear>();
  return (conv && (conv->weight_fn || conv->input_fn)) ||
         (linear && (linear->weight_fn || linear->input_fn));
}

/// What the layers of a model compute on average.
struct LayerMeans {
  std::map<std::string, Means> of;  // by path
  std::vector<std::string> order;   // of their first calls
};

class Watch final : public nn::ForwardObserver {
 public:
  explicit Watch(nn::Layer& model) {
    for (const LayerInfo& info : layers(model)) paths_[&module_of(info)] = info.path;
  }
  void after(nn::Module& module, const Tensor&, const Tensor& y) override {
    const auto it = paths_.find(&module);
    if (it == paths_.end()) return;
    if (!result.of.count(it->second)) result.order.push_back(it->second);
    result.of[it->second].add(y);
  }

  LayerMeans result;

 private:
  std::map<const nn::Module*, std::string> paths_;
};

LayerMeans means_of(nn::Layer& model, const std::vector<Tensor>& batches) {
  const NoGrad guard;
  const nn::EvalMode eval(model);
  Watch watch(model);
  for (const Tensor& x : batches) model(x);
  return std::move(watch.result);
}

/// The bias of a layer, made if there is none.
template <class L>
Tensor bias_of(L& layer, int64_t channels) {
  if (!layer.bias) {
    layer.bias = Tensor::zeros({channels}).requires_grad_(layer.weight.requires_grad());
    layer.opt.bias = true;
  }
  return layer.bias;
}

BiasReport::Row correct(nn::Layer& model, nn::Layer& layer, const Means& want,
                        const std::vector<Tensor>& batches) {
  Means got;
  for (const Tensor& x : batches) {
    run_until(model, *layer, x, [&](const Tensor&, const Tensor& y) { got.add(y); });
  }
  auto* conv = layer.as<nn::Conv2d>();
  auto* linear = layer.as<nn::Linear>();
  const auto channels = static_cast<int64_t>(got.sum.size());
  BiasReport::Row row{.path = layer->path, .new_bias = conv ? !conv->bias : !linear->bias};
  Tensor bias = conv ? bias_of(*conv, channels) : bias_of(*linear, channels);
  for (int64_t c = 0; c < channels; ++c) {
    const auto i = static_cast<size_t>(c);
    const double shift = got.mean(i) - want.mean(i);
    row.shift += shift * shift;
    row.size += got.mean(i) * got.mean(i);
    bias.data()[c] -= static_cast<float>(shift);
  }
  row.shift = std::sqrt(row.shift / static_cast<double>(channels));
  row.size = std::sqrt(row.size / static_cast<double>(channels));
  return row;
}

}  // namespace

BiasReport correct_bias(nn::Layer& model, nn::Layer& original, const std::vector<Tensor>& batches) {
  PARE_CHECK(!batches.empty() && batches[0].dim(0) > 0, "correct_bias: no images");
  nn::assign_paths(model);
  const LayerMeans want = means_of(original, batches);
  std::map<std::string, nn::Layer*> quantized_at;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    if (is_quantized(layer)) quantized_at[path] = &layer;
  });
  PARE_CHECK(!quantized_at.empty(), "correct_bias: no layer is quantized");
  for (const auto& [path, layer] : quantized_at) {
    PARE_CHECK(want.of.count(path) > 0, "correct_bias: the float model computes no layer ", path,
               hint("both must be the same model; quantize with bn=apart, batch norms folded"));
    PARE_CHECK(want.of.at(path).calls == static_cast<int64_t>(batches.size()),
               "correct_bias: ", path, " is used twice: it has no one mean");
  }
  BiasReport report;
  for (const std::string& path : want.order) {
    const auto it = quantized_at.find(path);
    if (it == quantized_at.end()) continue;
    report.rows.push_back(correct(model, *it->second, want.of.at(path), batches));
  }
  return report;
}

std::ostream& operator<<(std::ostream& out, const BiasReport& report) {
  std::vector<std::vector<std::string>> lines{{"layer", "mean of y'", "shift taken back", "bias"}};
  for (const BiasReport::Row& r : report.rows) {
    lines.push_back({r.path, fmt::format("{:.4g}", r.size), fmt::format("{:.4g}", r.shift),
                     r.new_bias ? "new" : "changed"});
  }
  return out << nn::columns(lines);
}

}  // namespace pare::quant
