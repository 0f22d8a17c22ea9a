#pragma once
// Quantizers and observers by name. A new one is a file: quant/quantizers/NAME.cpp or
// quant/observers/NAME.cpp defines `QuantizerInfo pare::quant::parts::NAME()` or `ObserverInfo
// ...`, and is found because it is there (CMakeLists.txt). A program adds its own with
// add_quantizer(). docs/add_a_quantizer.md grows one.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nn/module.h"
#include "quant/observer.h"
#include "quant/options.h"

namespace pare::quant {

/// A quantizer as it is asked for: "lsq:4" for weights with scheme=symmetric.
struct QuantizerSpec {
  std::string name;
  Role role = Role::weight;
  int bits = 0;          // 0: the quantizer has a fixed number
  Options options = {};  // those that were given; after checked(), all

  const std::string& word(const std::string& option) const { return options.word(option); }
  bool is(const std::string& option, const std::string& w) const { return options.is(option, w); }
  float number(const std::string& option) const {
    return static_cast<float>(options.number(option));
  }
  bool operator==(const QuantizerSpec&) const = default;
};

/// Where a quantizer will work: how many scales it may need.
struct Site {
  Shape weight;        // of the layer, filters first
  int64_t inputs = 0;  // channels of its input; 0: unknown
};

struct QuantizerInfo {
  std::string name, summary;
  int min_bits = 2, max_bits = 16;  // 0, 0: it has no bits to choose
  /// Why it is not for a role; empty: it is.
  std::string no_weights = {}, no_activations = {};
  /// It takes the place of a nonlinearity: what a relu lets through would be a constant to it.
  bool is_sign = false;
  std::function<std::vector<Option>(Role)> options = {};
  /// Why a combination makes no sense; empty: it does. May be left out.
  std::function<std::string(const QuantizerSpec&)> refuse = {};
  std::function<nn::Layer(const QuantizerSpec&, const Site&)> make = {};
};

struct ObserverInfo {
  std::string name, summary;
  std::vector<Option> options = {};
  /// Why it is not for these bits, this role, or one scale per channel; empty: it is. May be left
  /// out.
  std::function<std::string(const QuantizerSpec&)> refuse = {};
  std::function<std::shared_ptr<Observer>(const ObserverSetup&)> make = {};
};

/// Sorted by name. Adding a name that is taken is an error.
const std::vector<QuantizerInfo>& quantizers();
const std::vector<ObserverInfo>& observers();
void add_quantizer(QuantizerInfo info);
void add_observer(ObserverInfo info);
/// Unknown names list the known ones.
const QuantizerInfo& find_quantizer(const std::string& name);
const ObserverInfo& find_observer(const std::string& name);
std::vector<std::string> observer_names();

/// "lsq:4", "binary" -> name and bits.
QuantizerSpec parse_quantizer(const std::string& text, Role role, Options options = {});
/// "lsq:4"
std::string name_and_bits(const QuantizerSpec& spec);
/// Every option that the spec knows, those of its observer included.
std::vector<Option> options_of(const QuantizerSpec& spec);
/// The spec with every option filled in; throws, with the reason, where it makes no sense.
QuantizerSpec checked(const QuantizerSpec& spec);
/// The module, for checked(spec).
nn::Layer make_quantizer(const QuantizerSpec& spec, const Site& site);

}  // namespace pare::quant
