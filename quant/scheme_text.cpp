// Schemes as text. The forms and keys are listed in scheme.h and scheme_help.cpp.

#include <algorithm>
#include <set>
#include <sstream>

#include "core/error.h"
#include "quant/scheme.h"

namespace pare::quant {

namespace {

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(str("quant: ", problem, hint("`pare info --quant-help` lists what can be said")),
              "parse_scheme");
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

int number(const std::string& text, const std::string& what) {
  const bool digits = !text.empty() && text.size() <= 2 &&
                      text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits) refuse(what + " wants a number, got '" + text + "'");
  return std::stoi(text);
}

/// "key=value"
struct Item {
  std::string name, text;
  bool used = false;
};

Item item_of(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) refuse("'" + text + "' is neither a short form nor key=value");
  return {text.substr(0, equals), text.substr(equals + 1), false};
}

// "W2A32" -> 2, 32
std::pair<int, int> w_and_a(const std::string& text, const std::string& whole) {
  const size_t a = text.find_first_of("Aa");
  if (text.empty() || (text[0] != 'W' && text[0] != 'w') || a == std::string::npos) {
    refuse("'" + whole + "' is not of the form family:W2A2");
  }
  return {number(text.substr(1, a - 1), "W"), number(text.substr(a + 1), "A")};
}

std::optional<QuantizerSpec> of_values(int values, Role role) {
  if (values == 32) return {};
  if (values != 2 && values != 3) {
    const char* side = role == Role::weight ? "W" : "A";
    refuse(str("wbab:", side, " is 2, 3 or 32 values, got ", values));
  }
  return QuantizerSpec{values == 2 ? "binary" : "ternary", role};
}

std::optional<QuantizerSpec> of_bits(const std::string& family, int bits, Role role) {
  if (bits == 32) return {};
  if (bits == 0) refuse(str(family, ": 0 bits say nothing; 32 is float"));
  const bool weight = role == Role::weight;
  if (family == "wqaq") return QuantizerSpec{"dorefa", role, bits, {{"form", "micronet"}}};
  return QuantizerSpec{weight && family == "pact" ? "dorefa" : family, role, bits};
}

// The first item, if it is a short form.
bool parse_short(const std::string& item, Scheme& s) {
  if (item == "float") return true;
  const size_t colon = item.find(':'), equals = item.find('=');
  if (colon == std::string::npos || equals != std::string::npos) return false;
  const std::string family = item.substr(0, colon);
  const auto [w, a] = w_and_a(item.substr(colon + 1), item);
  if (family == "wbab") {
    s.weight = of_values(w, Role::weight);
    s.activation = of_values(a, Role::activation);
    return true;
  }
  if (family != "wqaq") find_quantizer(family);  // or say which there are
  s.weight = of_bits(family, w, Role::weight);
  s.activation = of_bits(family, a, Role::activation);
  if (family == "wqaq") s.keep = {"first"};
  return true;
}

std::optional<QuantizerSpec> kind_of(const std::string& text, Role role) {
  if (text == "float") return {};
  return parse_quantizer(text, role);
}

void set_keep(Scheme& s, const std::string& text) {
  s.keep = text == "none" ? std::vector<std::string>{} : split(text, '+');
  const bool blank =
      std::any_of(s.keep.begin(), s.keep.end(), [](const auto& k) { return k.empty(); });
  if (blank || (s.keep.empty() && text != "none")) refuse("keep has an empty name: '" + text + "'");
}

void set_place(Scheme& s, const std::string& text) {
  if (!s.activation) refuse("place has no effect: activations are float");
  if (text == "auto") {
    s.place = Place::automatic;
  } else if (text == "act" || text == "input") {
    s.place = text == "act" ? Place::act : Place::input;
  } else {
    refuse("place is one of auto, act, input; got '" + text + "'");
  }
}

void set_xnor(Scheme& s, const std::string& text) {
  if (!s.activation || s.activation->name != "binary") {
    refuse("xnor has no effect without binary activations");
  }
  if (text != "on" && text != "off") refuse("xnor is one of on, off; got '" + text + "'");
  s.xnor = text == "on";
}

void set_bn(Scheme& s, const std::string& text) {
  if (!s.weight) refuse("bn has no effect: weights are float");
  if (text != "apart" && text != "fused" && text != "corrected") {
    refuse("bn is one of apart, fused, corrected; got '" + text + "'");
  }
  s.bn = text == "apart" ? BnPlace::apart : text == "fused" ? BnPlace::fused : BnPlace::corrected;
}

void set_edges(Scheme& s, const std::string& text) {
  if (s.weight) s.edge_weight = checked(parse_quantizer(text, Role::weight));
  if (s.activation) s.edge_input = checked(parse_quantizer(text, Role::activation));
}

/// "conv1:8+layer3.*:2"
std::vector<LayerBits> layer_bits(const std::string& text) {
  std::vector<LayerBits> all;
  for (const std::string& entry : split(text, '+')) {
    const size_t colon = entry.rfind(':');
    if (colon == std::string::npos || colon == 0) {
      refuse("bits wants layers and their bits, such as conv1:8+layer3.*:2; got '" + entry + "'");
    }
    const std::string layer = entry.substr(0, colon);
    all.push_back({layer, number(entry.substr(colon + 1), "bits of " + layer)});
  }
  if (all.empty()) refuse("bits names no layer: leave it out");
  return all;
}

/// bits is for both sides, as far as they are quantized; w_bits and a_bits are for one.
void set_bits(Scheme& s, const Item& item) {
  if (item.name == "w_bits" && !s.weight) refuse("w_bits has no effect: weights are float");
  if (item.name == "a_bits" && !s.activation) refuse("a_bits has no effect: activations are float");
  if (item.name != "a_bits" && s.weight) s.weight_bits = layer_bits(item.text);
  if (item.name != "w_bits" && s.activation) s.input_bits = layer_bits(item.text);
}

void check_bits(const std::optional<QuantizerSpec>& side, const std::vector<LayerBits>& entries) {
  for (const LayerBits& e : entries) {
    if (e.bits == 32) continue;
    QuantizerSpec other = *side;
    other.bits = e.bits;
    checked(other);
  }
}

/// Keys of the scheme itself; W and A come before.
void set_keys(Scheme& s, std::vector<Item>& items) {
  static const std::set<std::string> kOurs = {"keep", "place", "xnor",   "edges",
                                              "bn",   "bits",  "w_bits", "a_bits"};
  bool kept = false;
  for (Item& i : items) {
    if (!kOurs.count(i.name)) continue;
    if (!s.active()) refuse(i.name + " has no effect: this scheme quantizes nothing");
    if (i.name == "keep") set_keep(s, i.text), kept = true;
    if (i.name == "place") set_place(s, i.text);
    if (i.name == "xnor") set_xnor(s, i.text);
    if (i.name == "bn") set_bn(s, i.text);
    if (i.name == "edges") set_edges(s, i.text);
    if (i.name.ends_with("bits")) set_bits(s, i);
    i.used = true;
  }
  // Edges that are quantized are not left float, unless somebody says so.
  if ((s.edge_weight || s.edge_input) && !kept) s.keep = {};
}

/// The options that concern one side. The observer comes first: it has options of its own.
void set_options(std::optional<QuantizerSpec>& side, std::vector<Item>& items) {
  if (!side) return;
  const std::string prefix = side->role == Role::weight ? "w_" : "a_";
  const auto take = [&](bool observer) {
    for (const Option& o : options_of(*side)) {
      if ((o.name == "observer") != observer) continue;
      for (const std::string& name :
           {o.name, prefix + o.name}) {  // the side's own word is the last
        for (Item& i : items) {
          if (i.name != name) continue;
          side->options[o.name] = i.text;
          i.used = true;
        }
      }
    }
  };
  take(true);
  take(false);
  side = checked(*side);
}

std::string sides(const Scheme& s) {
  if (!s.active()) return "a scheme that quantizes nothing";
  return str("W=", s.weight ? name_and_bits(*s.weight) : "float",
             ",A=", s.activation ? name_and_bits(*s.activation) : "float");
}

void check_all_used(const Scheme& s, const std::vector<Item>& items) {
  std::vector<std::string> names = {"W",     "A",  "keep", "place",  "xnor",
                                    "edges", "bn", "bits", "w_bits", "a_bits"};
  for (const auto* side : {&s.weight, &s.activation}) {
    if (!*side) continue;
    for (const Option& o : options_of(**side)) names.push_back(o.name);
  }
  for (const Item& i : items) {
    if (!i.used) refuse(i.name + " has no effect on " + sides(s) + did_you_mean(i.name, names));
  }
}

void check_whole(const Scheme& s) {
  if (s.xnor && s.bn != BnPlace::apart) {
    refuse("xnor=on multiplies outputs between convolution and batch norm: they cannot be fused");
  }
  if (s.xnor && s.place == Place::act) {
    refuse("xnor=on needs the real values that place=act has already replaced");
  }
  if (!s.input_bits.empty() && s.place == Place::act) {
    refuse("place=act quantizes in place of nonlinearities: a_bits are for the inputs of layers");
  }
  const bool channels =
      s.activation && s.activation->options.count("per") && s.activation->is("per", "channel");
  if (channels && s.place == Place::act) {
    refuse(
        "place=act replaces a nonlinearity, which does not know its channels: a_per=channel "
        "needs place=input");
  }
}

/// ",option=value" where it is not the usual one, once if both sides have the same.
std::string options_text(const Scheme& s) {
  std::string text;
  std::set<std::string> for_both;
  for (const auto* side : {&s.weight, &s.activation}) {
    if (!*side) continue;
    const auto& other = side == &s.weight ? s.activation : s.weight;
    for (const Option& o : options_of(**side)) {
      const std::string& value = (*side)->word(o.name);
      if (value == o.usual || for_both.count(o.name)) continue;
      const bool shared = other && other->options.count(o.name);
      const bool same = side == &s.weight && shared && other->word(o.name) == value;
      if (same) for_both.insert(o.name);
      const char* prefix = same || !shared ? "" : side == &s.weight ? "w_" : "a_";
      text += str(",", prefix, o.name, "=", value);
    }
  }
  return text;
}

std::string bits_text(const Scheme& s) {
  const auto list = [](const char* key, const std::vector<LayerBits>& entries) {
    std::string text;
    for (const LayerBits& e : entries) {
      text += (text.empty() ? str(",", key, "=") : "+") + e.layer + ":" + std::to_string(e.bits);
    }
    return text;
  };
  if (s.weight_bits == s.input_bits) return list("bits", s.weight_bits);
  return list("w_bits", s.weight_bits) + list("a_bits", s.input_bits);
}

std::string keep_text(const Scheme& s) {
  std::string all;
  for (const std::string& k : s.keep) all += (all.empty() ? "" : "+") + k;
  return all.empty() ? "none" : all;
}

}  // namespace

Scheme parse_scheme(const std::string& text) {
  Scheme s;
  const std::vector<std::string> words = split(text, ',');
  if (words.empty()) refuse("the scheme is empty; say float for none");
  std::vector<Item> items;
  for (size_t i = parse_short(words[0], s) ? 1 : 0; i < words.size(); ++i) {
    items.push_back(item_of(words[i]));
  }
  for (Item& i : items) {
    if (i.name == "W" || i.name == "w") {
      s.weight = kind_of(i.text, Role::weight), i.used = true;
    }
    if (i.name == "A" || i.name == "a") {
      s.activation = kind_of(i.text, Role::activation), i.used = true;
    }
  }
  set_keys(s, items);
  set_options(s.weight, items);
  set_options(s.activation, items);
  check_bits(s.weight, s.weight_bits);
  check_bits(s.activation, s.input_bits);
  check_all_used(s, items);
  check_whole(s);
  return s;
}

std::string to_string(const Scheme& s) {
  if (!s.active()) return "float";
  std::string text = sides(s);
  const bool edges = s.edge_weight || s.edge_input;
  const std::vector<std::string> usual =
      edges ? std::vector<std::string>{} : std::vector<std::string>{"first", "last"};
  if (s.keep != usual) text += ",keep=" + keep_text(s);
  if (edges) text += ",edges=" + name_and_bits(s.edge_weight ? *s.edge_weight : *s.edge_input);
  text += bits_text(s);
  if (s.place != Place::automatic) text += s.place == Place::act ? ",place=act" : ",place=input";
  if (s.bn != BnPlace::apart) text += s.bn == BnPlace::fused ? ",bn=fused" : ",bn=corrected";
  if (s.xnor) text += ",xnor=on";
  return text + options_text(s);
}

}  // namespace pare::quant
