#include "quant/config_side.h"

#include <algorithm>
#include <set>

#include "quant/placement.h"

namespace pare::quant {

namespace {

using nn::Yaml;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// A key of an observer, which observer knows it, and the option it stands for.
struct ObserverKey {
  const char *key, *observer, *option;
};
constexpr ObserverKey kObserverKeys[] = {
    {"OBSERVER.PERCENTILE.ALPHA", "percentile", "tail"},
    {"OBSERVER.ACIQ.DISTRIBUTION", "aciq", "distribution"},
    {"OBSERVER.MOVING_AVERAGE.EMA_RATIO", "moving_average", "ema"}};

const Option* find(const std::vector<Option>& options, const std::string& name) {
  const auto it =
      std::find_if(options.begin(), options.end(), [&](const Option& o) { return o.name == name; });
  return it == options.end() ? nullptr : &*it;
}

bool has_word(const Option* option, const std::string& word) {
  return option &&
         std::find(option->words.begin(), option->words.end(), word) != option->words.end();
}

/// The next part of the keys below a prefix: "QUANTIZER." -> TYPE, BIT, ...
std::vector<std::string> next_parts(const std::vector<std::string>& keys,
                                    const std::string& prefix) {
  std::vector<std::string> parts;
  for (const std::string& key : keys) {
    if (key.rfind(prefix, 0) != 0) continue;
    const std::string part =
        key.substr(prefix.size(), key.find('.', prefix.size()) - prefix.size());
    if (std::find(parts.begin(), parts.end(), part) == parts.end()) parts.push_back(part);
  }
  return parts;
}

/// Runs f; what it throws gets the file, the line and the key in front.
template <class F>
auto located(const Yaml& at, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    at.fail(e.what());
  }
}

}  // namespace

ConfigSide::ConfigSide(const Yaml& keys, Role role, Backend backend)
    : keys_(keys), role_(role), backend_(backend) {
  read(keys_, "");
  spec_from(settings_);  // what is wrong with them is said before a model is there
  for (const Specific& s : specific_) {
    Settings with = settings_;
    for (const auto& [key, value] : s.settings) with.insert_or_assign(key, value);
    spec_from(with);
  }
}

std::vector<std::string> ConfigSide::known() const {
  std::vector<std::string> keys = {"QSCHEME", "QUANTIZER.TYPE", "QUANTIZER.BIT",
                                   "QUANTIZER.DISABLE", "OBSERVER.TYPE"};
  for (const ObserverKey& k : kObserverKeys) keys.emplace_back(k.key);
  if (role_ == Role::activation) keys.emplace_back("QUANTIZER.PACT.ALPHA_VALUE");
  return keys;
}

void ConfigSide::read(const Yaml& keys, const std::string& prefix) {
  const bool top = prefix.empty();
  std::vector<std::string> parts = next_parts(known(), prefix);
  if (top) parts.emplace_back("SPECIFIC");
  if (top && role_ == Role::activation) parts.emplace_back("QADD");
  if (const Yaml* layout = prefix == "OBSERVER." ? keys.find("LAYOUT") : nullptr) {
    layout->fail("channels are always the last axis here", "leave LAYOUT out");
  }
  keys.check_keys(parts);
  const std::vector<std::string> all = known();
  for (const Yaml::Entry& e : keys.entries()) {
    const std::string key = prefix + e.key;
    if (top && e.key == "SPECIFIC") {
      read_specific(e.value);
    } else if (top && e.key == "QADD") {
      e.value.check_keys({"ENABLE_QUANT"});
      sums_ = e.value.at("ENABLE_QUANT").boolean();
    } else if (std::find(all.begin(), all.end(), key) != all.end()) {
      settings_.insert_or_assign(key, e.value);
    } else {
      read(e.value, key + ".");
    }
  }
}

/// [{"conv1": ["QUANTIZER.BIT", 8], "layer*": [...]}, ...]
void ConfigSide::read_specific(const Yaml& list) {
  for (const Yaml& item : list.items()) {
    for (const Yaml::Entry& e : item.entries()) {
      specific_.push_back({e.key, read_pairs(e.value)});
    }
  }
}

ConfigSide::Settings ConfigSide::read_pairs(const Yaml& list) const {
  const std::vector<Yaml>& items = list.items();
  if (items.size() % 2 != 0) list.fail("expected keys and values in turn, [\"QUANTIZER.BIT\", 8]");
  const std::vector<std::string> all = known();
  Settings settings;
  for (size_t i = 0; i < items.size(); i += 2) {
    items[i].word(all);
    settings.insert_or_assign(items[i].text(), items[i + 1]);
  }
  return settings;
}

std::optional<QuantizerSpec> ConfigSide::spec(const std::string& name,
                                              const LayerInfo* layer) const {
  Settings settings = settings_;
  for (const Specific& s : specific_) {
    if (!fits(s.pattern, name, layer)) continue;
    for (const auto& [key, value] : s.settings) settings.insert_or_assign(key, value);
  }
  return spec_from(settings);
}

std::vector<std::string> ConfigSide::patterns() const {
  std::vector<std::string> all;
  for (const Specific& s : specific_) all.push_back(s.pattern);
  return all;
}

void ConfigSide::require_channels() const {
  const Yaml& scheme = needed(settings_, "QSCHEME");
  if (scheme.text().rfind("per-channel", 0) != 0) {
    scheme.fail("BN_TUNING folds a factor into each filter: a scale for all of them cannot follow",
                "say per-channel-symmetric or per-channel-affine");
  }
}

const Yaml& ConfigSide::needed(const Settings& s, const std::string& key) const {
  const auto it = s.find(key);
  if (it == s.end()) keys_.fail("the key " + key + " is missing");
  return it->second;
}

std::optional<QuantizerSpec> ConfigSide::spec_from(const Settings& s) const {
  if (const auto off = s.find("QUANTIZER.DISABLE"); off != s.end() && off->second.boolean()) {
    return {};
  }
  QuantizerSpec spec{"uniform", role_};
  const auto type = s.find("QUANTIZER.TYPE");
  const Yaml& at = type == s.end() ? keys_ : type->second;
  if (type != s.end()) spec.name = lower(type->second.text());
  const bool chooses = located(at, [&] { return find_quantizer(spec.name).max_bits > 0; });
  if (chooses || s.count("QUANTIZER.BIT")) {
    const Yaml& bits = needed(s, "QUANTIZER.BIT");
    spec.bits = static_cast<int>(bits.integer(0, 32));
    if (spec.bits == 0) return {};  // as in older configs
    if (!chooses) bits.fail(spec.name + " has no bits to choose", "leave BIT out");
  }
  // Before its options: a quantizer that is not for this side is refused for that.
  located(at, [&] { return checked(spec); });
  set_scheme(s, options_of(spec), spec);
  set_observer(s, spec);
  if (const auto clip = s.find("QUANTIZER.PACT.ALPHA_VALUE"); clip != s.end()) {
    if (spec.name != "pact") clip->second.fail("has no effect on " + spec.name);
    clip->second.number(0, 1e6);
    spec.options["clip"] = clip->second.text();
  }
  const QuantizerSpec whole = located(at, [&] { return checked(spec); });
  check_backend(needed(s, "QSCHEME"), whole);
  return whole;
}

/// QSCHEME as the options scheme and per, as far as the quantizer has a choice.
void ConfigSide::set_scheme(const Settings& s, const std::vector<Option>& options,
                            QuantizerSpec& spec) const {
  const Yaml& key = needed(s, "QSCHEME");
  const std::string& text = key.word(
      {"per-tensor-symmetric", "per-tensor-affine", "per-channel-symmetric", "per-channel-affine"});
  const std::string per = text.rfind("per-channel", 0) == 0 ? "channel" : "tensor";
  const std::string coding = text.ends_with("affine") ? "affine" : "symmetric";
  const Option *scheme = find(options, "scheme"), *sharing = find(options, "per");
  if (scheme) {
    // Quantizers without a zero point take unsigned codes where nothing is negative.
    const bool none = coding == "affine" && !has_word(scheme, "affine") && has_word(scheme, "auto");
    spec.options["scheme"] = none ? "auto" : coding;
  } else if (coding != (role_ == Role::weight ? "symmetric" : "affine")) {
    key.fail(spec.name + (role_ == Role::weight ? " weights have codes of both signs: say symmetric"
                                                : " activations start at 0: say affine"));
  }
  if (has_word(sharing, "channel") || has_word(sharing, "tensor")) {
    spec.options["per"] = per;
  } else if (spec.name == "dorefa" && per == "channel") {
    key.fail("dorefa has one range for a whole tensor", "say per-tensor");
  }
}

void ConfigSide::set_observer(const Settings& s, QuantizerSpec& spec) const {
  const auto type = s.find("OBSERVER.TYPE");
  if (type != s.end()) {
    const std::string name = lower(type->second.text());
    spec.options["observer"] = name == "kl_histogram" ? "kl" : name;
    if (!find(options_of({spec.name, role_, spec.bits}), "observer")) {
      type->second.fail(spec.name + " finds its start without an observer", "leave OBSERVER out");
    }
    located(type->second, [&] { return checked(spec); });
  }
  for (const ObserverKey& k : kObserverKeys) {
    const auto given = s.find(k.key);
    if (given == s.end()) continue;
    const auto observer = spec.options.find("observer");
    if (observer == spec.options.end() || observer->second != k.observer) {
      given->second.fail(str("has no effect unless OBSERVER.TYPE is ", k.observer));
    }
    const std::string text = lower(given->second.text());
    spec.options[k.option] = text == "gaus" ? "gauss" : text;
    located(given->second, [&] { return checked(spec); });
  }
}

void ConfigSide::check_backend(const Yaml& scheme, const QuantizerSpec& spec) const {
  if (backend_ == Backend::any) return;
  const char* name = backend_ == Backend::tensorrt ? "tensorrt" : "onnxruntime";
  if (spec.bits != 8) scheme.fail(str("BACKEND ", name, " computes with 8 bits, got ", spec.bits));
  if (backend_ != Backend::tensorrt) return;
  const char* only = role_ == Role::weight ? "per-channel-symmetric" : "per-tensor-symmetric";
  if (scheme.text() != only) scheme.fail(str("BACKEND tensorrt needs ", only));
}

}  // namespace pare::quant
