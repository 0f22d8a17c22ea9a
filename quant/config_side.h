#pragma once
// The keys below W and A of a config.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/yaml.h"
#include "quant/attach.h"
#include "quant/registry.h"

namespace pare::quant {

/// What will compute the model; a config that asks for more than it can do is refused.
enum class Backend : uint8_t {
  any,
  onnxruntime,  // 8 bits
  tensorrt      // 8 bits, symmetric; weights per channel, activations per tensor
};

class ConfigSide {
 public:
  ConfigSide(const nn::Yaml& keys, Role role, Backend backend);

  /// For the layer, or the node, of that name; nothing: float.
  std::optional<QuantizerSpec> spec(const std::string& name, const LayerInfo* layer) const;
  /// Of SPECIFIC.
  std::vector<std::string> patterns() const;
  bool sums() const { return sums_; }
  /// Refuses weights that share a scale.
  void require_channels() const;

 private:
  /// Values by dotted key: "QUANTIZER.BIT".
  using Settings = std::map<std::string, nn::Yaml>;
  struct Specific {
    std::string pattern;
    Settings settings;
  };

  void read(const nn::Yaml& keys, const std::string& prefix);
  void read_specific(const nn::Yaml& list);
  Settings read_pairs(const nn::Yaml& list) const;
  std::vector<std::string> known() const;

  std::optional<QuantizerSpec> spec_from(const Settings& s) const;
  void set_scheme(const Settings& s, const std::vector<Option>& options, QuantizerSpec& spec) const;
  void set_observer(const Settings& s, QuantizerSpec& spec) const;
  void check_backend(const nn::Yaml& scheme, const QuantizerSpec& spec) const;
  const nn::Yaml& needed(const Settings& s, const std::string& key) const;

  nn::Yaml keys_;
  Role role_;
  Backend backend_;
  bool sums_ = false;
  Settings settings_;
  std::vector<Specific> specific_;
};

}  // namespace pare::quant
