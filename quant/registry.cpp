#include "quant/registry.h"

#include <algorithm>

#include "core/error.h"

namespace pare::quant {

// The files of quant/quantizers and quant/observers, one PARE_QUANTIZER(name) or
// PARE_OBSERVER(name) each; written by CMake.
namespace parts {
#define PARE_QUANTIZER(name) QuantizerInfo name();
#define PARE_OBSERVER(name) ObserverInfo name();
#include "quant_parts.inc"
#undef PARE_QUANTIZER
#undef PARE_OBSERVER
}  // namespace parts

namespace {

template <class Info>
void insert(std::vector<Info>& all, Info info, const char* kind) {
  PARE_CHECK(!info.name.empty() && info.make, "quant: ", kind, " needs a name and make()");
  const auto at = std::lower_bound(all.begin(), all.end(), info,
                                   [](const Info& a, const Info& b) { return a.name < b.name; });
  PARE_CHECK(at == all.end() || at->name != info.name, "quant: there is ", kind, " called ",
             info.name, " already");
  all.insert(at, std::move(info));
}

struct Registry {
  std::vector<QuantizerInfo> quantizers;
  std::vector<ObserverInfo> observers;

  Registry() {
#define PARE_QUANTIZER(name) insert(quantizers, parts::name(), "a quantizer");
#define PARE_OBSERVER(name) insert(observers, parts::name(), "an observer");
#include "quant_parts.inc"
#undef PARE_QUANTIZER
#undef PARE_OBSERVER
  }
};

Registry& registry() {
  static Registry all;
  return all;
}

template <class Info>
std::vector<std::string> names(const std::vector<Info>& all) {
  std::vector<std::string> list;
  for (const Info& i : all) list.push_back(i.name);
  return list;
}

template <class Info>
const Info& find(const std::vector<Info>& all, const std::string& name, const char* kind) {
  const auto it =
      std::find_if(all.begin(), all.end(), [&](const Info& i) { return i.name == name; });
  PARE_CHECK(it != all.end(), "quant: there is no ", kind, " '", name, "'",
             did_you_mean(name, names(all)), hint("known are " + join(names(all))));
  return *it;
}

/// "lsq:4 weights"
std::string who(const QuantizerSpec& s) {
  return name_and_bits(s) + (s.role == Role::weight ? " weights" : " activations");
}

void check_bits(const QuantizerSpec& s, const QuantizerInfo& info) {
  if (info.max_bits == 0) {
    PARE_CHECK(s.bits == 0, "quant: ", s.name, " has no bits to choose, got ", s.bits);
    return;
  }
  PARE_CHECK(s.bits >= info.min_bits && s.bits <= info.max_bits, "quant: ", s.name, " takes ",
             info.min_bits, " to ", info.max_bits, " bits, got ",
             s.bits ? std::to_string(s.bits) : "none",
             hint("say " + s.name + ":" + std::to_string(std::max(info.min_bits, 4))));
}

}  // namespace

const std::vector<QuantizerInfo>& quantizers() { return registry().quantizers; }
const std::vector<ObserverInfo>& observers() { return registry().observers; }
void add_quantizer(QuantizerInfo info) {
  insert(registry().quantizers, std::move(info), "a quantizer");
}
void add_observer(ObserverInfo info) {
  insert(registry().observers, std::move(info), "an observer");
}
const QuantizerInfo& find_quantizer(const std::string& name) {
  return find(quantizers(), name, "quantizer");
}
const ObserverInfo& find_observer(const std::string& name) {
  return find(observers(), name, "observer");
}
std::vector<std::string> observer_names() { return names(observers()); }

QuantizerSpec parse_quantizer(const std::string& text, Role role, Options options) {
  const size_t colon = text.find(':');
  QuantizerSpec s{text.substr(0, colon), role, 0, std::move(options)};
  if (colon == std::string::npos) return s;
  const std::string digits = text.substr(colon + 1);
  const bool number = !digits.empty() && digits.size() <= 2 &&
                      digits.find_first_not_of("0123456789") == std::string::npos;
  PARE_CHECK(number, "quant: ", s.name, ": wants a number of bits, got '", digits, "'");
  s.bits = std::stoi(digits);
  PARE_CHECK(s.bits > 0, "quant: ", s.name, ": 0 bits say nothing");
  return s;
}

std::string name_and_bits(const QuantizerSpec& s) {
  return s.bits ? s.name + ":" + std::to_string(s.bits) : s.name;
}

std::vector<Option> options_of(const QuantizerSpec& s) {
  const QuantizerInfo& info = find_quantizer(s.name);
  std::vector<Option> all = info.options ? info.options(s.role) : std::vector<Option>{};
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].name != "observer") continue;
    const auto given = s.options.find("observer");
    const std::string name =
        checked(all[i], given == s.options.end() ? all[i].usual : given->second, who(s));
    const std::vector<Option> more = find_observer(name).options;
    all.insert(all.end(), more.begin(), more.end());
    break;
  }
  return all;
}

QuantizerSpec checked(const QuantizerSpec& given) {
  const QuantizerInfo& info = find_quantizer(given.name);
  const std::string& not_here = given.role == Role::weight ? info.no_weights : info.no_activations;
  PARE_CHECK(not_here.empty(), "quant: ", given.name, " is not for ",
             given.role == Role::weight ? "weights" : "activations", ": ", not_here);
  check_bits(given, info);
  QuantizerSpec s = given;
  s.options = complete(options_of(given), given.options, who(given));
  const std::string why = info.refuse ? info.refuse(s) : std::string{};
  PARE_CHECK(why.empty(), "quant: ", who(s), ": ", why);
  if (s.options.count("observer")) {
    const ObserverInfo& observer = find_observer(s.word("observer"));
    const std::string because = observer.refuse ? observer.refuse(s) : std::string{};
    PARE_CHECK(because.empty(), "quant: ", who(s), ": observer=", observer.name, ": ", because);
  }
  return s;
}

nn::Layer make_quantizer(const QuantizerSpec& spec, const Site& site) {
  return find_quantizer(spec.name).make(checked(spec), site);
}

}  // namespace pare::quant
