#include "quant/calibrate.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/autograd.h"
#include "core/error.h"
#include "quant/attach.h"
#include "quant/conv_bn.h"

namespace pare::quant {

namespace {

template <class F>
void for_each_quantizer(nn::Layer& model, F&& f) {
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    if (auto* q = layer.as<Quantizer>()) f(path, *q);
  });
}

/// A quantizer of weights, and the weight.
struct Weighted {
  Quantizer* quantizer;
  Tensor weight;
};

std::vector<Weighted> weighted(nn::Layer& model) {
  std::map<const nn::Module*, Tensor> folded;  // what a quantizer within a ConvBn will see
  nn::for_each_layer(model, [&](const std::string&, nn::Layer& layer) {
    if (const auto* both = layer.as<ConvBn>()) folded[&*both->conv] = both->folded_weight();
  });
  std::vector<Weighted> all;
  for (const LayerInfo& info : layers(model)) {
    const nn::Layer& socket = info.conv ? info.conv->weight_fn : info.linear->weight_fn;
    const auto it = folded.find(info.conv);
    if (auto* q = socket.as<Quantizer>()) {
      all.push_back({q, it == folded.end() ? info.weight() : it->second});
    }
  }
  return all;
}

/// Puts modes back, whatever happens.
class Modes {
 public:
  explicit Modes(nn::Layer& model) {
    for_each_quantizer(model, [&](const std::string&, Quantizer& q) {
      before_.push_back({&q, q.mode});
    });
  }
  ~Modes() {
    for (const auto& [quantizer, mode] : before_) quantizer->mode = mode;
  }
  Modes(const Modes&) = delete;
  Modes& operator=(const Modes&) = delete;

 private:
  std::vector<std::pair<Quantizer*, Quantizer::Mode>> before_;
};

}  // namespace

bool wants_calibration(nn::Layer& model) {
  bool wanted = false;
  for_each_quantizer(
      model, [&](const std::string&, Quantizer& q) { wanted = wanted || q.wants_calibration(); });
  return wanted;
}

void calibrate(nn::Layer& model, const std::vector<Tensor>& batches) {
  NoGrad guard;
  const Modes modes(model);
  std::set<const Quantizer*> of_weights;
  for (const Weighted& w : weighted(model)) {
    of_weights.insert(w.quantizer);
    if (!w.quantizer->wants_calibration()) continue;
    w.quantizer->observe(w.weight);
    w.quantizer->settle();
  }
  std::vector<Quantizer*> of_inputs;
  for_each_quantizer(model, [&](const std::string&, Quantizer& q) {
    const bool observes = q.wants_calibration() && !of_weights.count(&q);
    // A sign stands for a nonlinearity: without it the layers behind would see other values.
    if (q.wants_calibration() || of_weights.count(&q)) {
      q.mode = observes ? Quantizer::Mode::observe : Quantizer::Mode::off;
    }
    if (observes) of_inputs.push_back(&q);
  });
  if (of_inputs.empty()) return;
  PARE_CHECK(!batches.empty(), "calibrate: no images");
  const nn::EvalMode eval(model);
  for (const Tensor& x : batches) model(x);
  for (Quantizer* q : of_inputs) q->settle();
}

void calibrate(nn::Layer& model, BatchSource& source, int64_t images) {
  PARE_CHECK(images > 0, "calibrate: images must be positive, got ", images);
  std::vector<Tensor> batches;
  source.start(0);
  for (int64_t left = images; left > 0;) {
    const auto batch = source.next();
    if (!batch) break;
    const int64_t count = std::min(left, batch->x.dim(0));
    batches.push_back(count < batch->x.dim(0) ? slice(batch->x, 0, 0, count) : batch->x);
    left -= count;
  }
  calibrate(model, batches);
}

void set_mode(nn::Layer& model, Quantizer::Mode mode) {
  for_each_quantizer(model, [mode](const std::string&, Quantizer& q) { q.mode = mode; });
}

void freeze_ranges(nn::Layer& model) {
  nn::for_each_layer(model, [](const std::string&, nn::Layer& layer) {
    auto* q = layer.as<Quantizer>();
    if (!q) return;
    q->frozen = true;
    nn::set_requires_grad(layer, false);
  });
}

std::vector<nn::ParamGroup> param_groups(nn::Layer& model, const ParamGroupOptions& o) {
  std::set<std::string> learned;
  for_each_quantizer(model, [&](const std::string& path, Quantizer& q) {
    struct Names final : nn::Visitor {
      void on_parameter(std::string_view name, Tensor&) override { names.emplace_back(name); }
      std::vector<std::string> names;
    } own;
    q.visit(own);
    for (const std::string& name : own.names) learned.insert(path + "." + name);
  });
  std::vector<nn::ParamGroup> groups =
      nn::param_groups(model, o.weight_decay, o.decay_norm_and_bias);
  nn::ParamGroup own{{}, o.quant_weight_decay, o.quant_lr_scale};
  for (nn::ParamGroup& g : groups) {
    const auto first =
        std::stable_partition(g.params.begin(), g.params.end(),
                              [&](const nn::NamedTensor& p) { return !learned.count(p.name); });
    own.params.insert(own.params.end(), first, g.params.end());
    g.params.erase(first, g.params.end());
  }
  if (!own.params.empty()) groups.push_back(std::move(own));
  return groups;
}

}  // namespace pare::quant
