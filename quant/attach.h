#pragma once
// Putting quantizers into a model that knows nothing of them, and saying what was put where.

#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "nn/conv2d.h"
#include "nn/layers.h"
#include "nn/linear.h"
#include "quant/registry.h"

namespace pare::quant {

/// A Conv2d or Linear of a model, and where it stands.
struct LayerInfo {
  std::string path;  // "layer1.0.conv1"
  const nn::Conv2d* conv = nullptr;
  const nn::Linear* linear = nullptr;  // exactly one of the two
  int index = 0, count = 0;            // position among all of them, in visiting order

  bool first() const { return index == 0; }
  bool last() const { return index == count - 1; }
  const Tensor& weight() const { return conv ? conv->weight : linear->weight; }
  Site site() const { return {weight().shape(), conv ? conv->opt.in : linear->weight.dim(1)}; }
};

/// What goes into a layer. An empty part leaves the socket as it is.
struct Spec {
  nn::Layer weight = {}, input = {};
  bool xnor_scale = false;  // wrap the layer: its output times XNOR-Net's K (quant/xnor.h)
};

/// Parts of a Spec by name: weights("lsq:4", layer), inputs("lsq:4", layer, {{"scheme", "auto"}}).
nn::Layer weights(const std::string& quantizer, const LayerInfo& layer,
                  const Options& options = {});
nn::Layer inputs(const std::string& quantizer, const LayerInfo& layer, const Options& options = {});

/// A nonlinearity of a model, and where it stands.
struct ActivationInfo {
  std::string path;
  const nn::Activation* activation = nullptr;
  int layers_before = 0, layers_after = 0;  // Conv2d and Linear, in visiting order
  /// Its module is a Sequential, or holds no more than one layer: nothing branches off around it.
  bool in_chain = false;

  bool between_layers() const { return layers_before > 0 && layers_after > 0; }
};

/// What was put where; prints as a table.
struct Report {
  struct Row {
    std::string path, layer, weight, input;
    int64_t weights = 0, bits = 0;  // stored bits, scales included
  };
  std::vector<Row> rows;
};
std::ostream& operator<<(std::ostream& out, const Report& report);

using LayerRule = std::function<Spec(const LayerInfo&)>;
/// Asks the rule about every Conv2d and Linear and fills their sockets. A quantizer that is there
/// already is replaced; anything else in a socket is an error. The report lists every layer,
/// changed or not.
Report attach_each(nn::Layer& model, const LayerRule& rule);

/// The same for f(const LayerInfo&), and for f(path, const nn::Conv2d&) and f(path, const
/// nn::Linear&): a callable that takes only one kind of layer leaves the other alone.
template <class F>
Report attach(nn::Layer& model, F&& f) {
  if constexpr (std::is_invocable_r_v<Spec, F&, const LayerInfo&>) {
    return attach_each(model, f);
  } else {
    constexpr bool kConv = std::is_invocable_r_v<Spec, F&, std::string_view, const nn::Conv2d&>;
    constexpr bool kLinear = std::is_invocable_r_v<Spec, F&, std::string_view, const nn::Linear&>;
    static_assert(kConv || kLinear, "attach: f takes (const LayerInfo&) or (path, const Conv2d&)");
    return attach_each(model, [&](const LayerInfo& info) -> Spec {
      if constexpr (kConv) {
        if (info.conv) return f(std::string_view(info.path), *info.conv);
      }
      if constexpr (kLinear) {
        if (info.linear) return f(std::string_view(info.path), *info.linear);
      }
      return {};
    });
  }
}

/// Every Conv2d and Linear of a model, in visiting order.
std::vector<LayerInfo> layers(nn::Layer& model);
/// Every nonlinearity that is a module of the model (not one called as a function, nor one in a
/// socket).
std::vector<ActivationInfo> activations(nn::Layer& model);

/// What becomes of a nonlinearity: nothing, or `layer` in its place (an empty one is the identity).
struct Replacement {
  bool replace = false;
  nn::Layer layer = {};
};
using ActivationRule = std::function<Replacement(const ActivationInfo&)>;
/// Asks the rule about every nonlinearity. The report lists the replaced ones.
Report replace_activations(nn::Layer& model, const ActivationRule& rule);

}  // namespace pare::quant
