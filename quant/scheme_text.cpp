// Schemes as text: one table of keys drives reading, writing and the help.

#include <algorithm>
#include <functional>
#include <sstream>
#include <string_view>
#include <utility>

#include "quant/scheme.h"

namespace pare::quant {

namespace {

using Words = std::vector<std::pair<std::string, int>>;

const Words kSwitch = {{"on", 1}, {"off", 0}};
const Words kSte = {{"identity", int(Ste::identity)},
                    {"clip", int(Ste::clip)},
                    {"triangle", int(Ste::triangle)},
                    {"poly", int(Ste::poly)}};
const Words kPlace = {
    {"auto", int(Place::automatic)}, {"act", int(Place::act)}, {"input", int(Place::input)}};
const Words kForm = {{"paper", int(DorefaForm::paper)}, {"micronet", int(DorefaForm::micronet)}};
const Words kPer = {{"filter", 0}, {"layer", 1}};

struct Key {
  const char* name;
  const char* help;
  std::function<bool(const Scheme&)> applies;
  std::function<void(Scheme&, const std::string&)> set;
  std::function<std::string(const Scheme&)> get;
};

[[noreturn]] void refuse(const std::string& problem) {
  PARE_CHECK(false, "quant: ", problem, "\n", scheme_help());
  std::abort();  // not reached: the check throws
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

int number(const std::string& text, const std::string& what) {
  const bool digits =
      !text.empty() && text.size() <= 2 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) refuse(what + " wants a number, got '" + text + "'");
  return std::stoi(text);
}

std::string number_text(float value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

float real(const std::string& text, const std::string& what, float lo, float hi) {
  std::istringstream in(text);
  float value = 0;
  const bool whole = static_cast<bool>(in >> value) && in.peek() == EOF;
  if (!whole || value < lo || value >= hi) {
    refuse(what + " wants a number from " + number_text(lo) + " to below " + number_text(hi) +
           ", got '" + text + "'");
  }
  return value;
}

int word(const std::string& text, const Words& words, const std::string& what) {
  std::string all;
  for (const auto& [name, value] : words) {
    if (name == text) return value;
    all += (all.empty() ? "" : ", ") + name;
  }
  refuse(what + " is one of " + all + "; got '" + text + "'");
}

std::string word_of(int value, const Words& words) {
  for (const auto& [name, v] : words) {
    if (v == value) return name;
  }
  return "?";
}

// "binary", "dorefa:4" -> method and bits.
void set_method(const std::string& text, const std::string& what, Method& method, int& bits) {
  bits = 0;
  if (text == "float") {
    method = Method::none;
  } else if (text == "binary") {
    method = Method::binary;
  } else if (text == "ternary") {
    method = Method::ternary;
  } else if (text.rfind("dorefa:", 0) == 0) {
    method = Method::dorefa;
    bits = number(text.substr(7), what + "=dorefa:");
    if (bits < 1 || bits > 16) refuse(what + "=dorefa: takes 1 to 16 bits, got " + text.substr(7));
  } else {
    refuse(what + " is float, binary, ternary or dorefa:BITS; got '" + text + "'");
  }
}

std::string method_text(Method method, int bits) {
  switch (method) {
    case Method::binary:
      return "binary";
    case Method::ternary:
      return "ternary";
    case Method::dorefa:
      return "dorefa:" + std::to_string(bits);
    case Method::none:
      break;
  }
  return "float";
}

// A key whose value is one of a few words, kept in the field that `field` returns.
template <class Field>
Key choice(const char* name, const char* help, std::function<bool(const Scheme&)> applies,
           const Words& words, Field field) {
  return {name, help, std::move(applies),
          [=](Scheme& s, const std::string& v) {
            auto& f = field(s);
            f = static_cast<std::remove_reference_t<decltype(f)>>(word(v, words, name));
          },
          [=](const Scheme& s) {
            return word_of(static_cast<int>(field(const_cast<Scheme&>(s))), words);
          }};
}

template <class Field>
Key value(const char* name, const char* help, std::function<bool(const Scheme&)> applies, float lo,
          float hi, Field field) {
  return {name, help, std::move(applies),
          [=](Scheme& s, const std::string& v) { field(s) = real(v, name, lo, hi); },
          [=](const Scheme& s) { return number_text(field(const_cast<Scheme&>(s))); }};
}

std::string keep_text(const Scheme& s) {
  std::string all;
  for (const std::string& k : s.keep) all += (all.empty() ? "" : "+") + k;
  return all.empty() ? "none" : all;
}

void set_keep(Scheme& s, const std::string& text) {
  s.keep = text == "none" ? std::vector<std::string>{} : split(text, '+');
  const bool blank =
      std::any_of(s.keep.begin(), s.keep.end(), [](const auto& k) { return k.empty(); });
  if (blank || (s.keep.empty() && text != "none")) refuse("keep has an empty name: '" + text + "'");
}

std::vector<Key> make_keys() {
  const auto w_is = [](Method m) { return [m](const Scheme& s) { return s.weight == m; }; };
  const auto a_is = [](Method m) { return [m](const Scheme& s) { return s.activation == m; }; };
  const auto scaled = [](const Scheme& s) {
    return s.weight == Method::binary || s.weight == Method::ternary;
  };
  const auto signs = [](const Scheme& s) {
    return s.activation == Method::binary || s.activation == Method::ternary;
  };
  const auto dorefa = [](const Scheme& s) {
    return s.weight == Method::dorefa || s.activation == Method::dorefa;
  };
  const auto has_a = [](const Scheme& s) { return s.activation != Method::none; };
  // alpha belongs to whichever kind of weight there is.
  const auto alpha = [](Scheme& s) -> bool& {
    return s.weight == Method::ternary ? s.ternary.alpha : s.binary.alpha;
  };
  return {
      {"keep", "layers left float: first, last, paths with *, joined by +, or none",
       [](const Scheme& s) { return s.active(); }, set_keep, keep_text},
      choice("place",
             "where activations are quantized: auto, act (replacing the nonlinearity), input",
             has_a, kPlace, [](Scheme& s) -> Place& { return s.place; }),
      choice("ste", "derivative of sign: identity, clip, triangle, poly", signs, kSte,
             [](Scheme& s) -> Ste& { return s.ste; }),
      choice("xnor", "on: multiply outputs by XNOR-Net's K (binary activations)",
             a_is(Method::binary), kSwitch, [](Scheme& s) -> bool& { return s.xnor; }),
      choice("center", "off: do not centre binary weights", w_is(Method::binary), kSwitch,
             [](Scheme& s) -> bool& { return s.binary.center; }),
      choice("clamp", "off: do not clamp binary weights to [-1, 1]", w_is(Method::binary), kSwitch,
             [](Scheme& s) -> bool& { return s.binary.clamp; }),
      choice("in_place", "off: centre and clamp within the gradient, not on the stored weight",
             w_is(Method::binary), kSwitch, [](Scheme& s) -> bool& { return s.binary.in_place; }),
      choice("alpha", "off: binary and ternary weights without their scale", scaled, kSwitch,
             alpha),
      choice("per", "filter or layer: what shares a ternary threshold and scale",
             w_is(Method::ternary), kPer, [](Scheme& s) -> bool& { return s.ternary.per_layer; }),
      value("w_threshold", "of ternary weights, times mean |w|", w_is(Method::ternary), 0, 100,
            [](Scheme& s) -> float& { return s.ternary.threshold; }),
      value("gap",
            "in (0, 1): ternary weights between gap x threshold and threshold keep their value",
            w_is(Method::ternary), 0, 1, [](Scheme& s) -> float& { return s.ternary.gap; }),
      value("a_threshold", "of ternary activations", a_is(Method::ternary), 0, 1,
            [](Scheme& s) -> float& { return s.activation_threshold; }),
      choice("form", "DoReFa as in the paper, or as in micronet (halves away from zero, 0.1 x)",
             dorefa, kForm, [](Scheme& s) -> DorefaForm& { return s.form; }),
      value("prescale", "factor on DoReFa activations; 0 means the form's own (1 or 0.1)",
            a_is(Method::dorefa), 0, 1e6f, [](Scheme& s) -> float& { return s.prescale; }),
  };
}

const std::vector<Key>& keys() {
  static const std::vector<Key> all = make_keys();
  return all;
}

// "W2A32" -> 2, 32
std::pair<int, int> w_and_a(const std::string& text, const std::string& whole) {
  const size_t a = text.find_first_of("Aa");
  if (text.empty() || (text[0] != 'W' && text[0] != 'w') || a == std::string::npos) {
    refuse("'" + whole + "' is not of the form family:W2A2");
  }
  return {number(text.substr(1, a - 1), "W"), number(text.substr(a + 1), "A")};
}

Method values_method(int values, const char* what) {
  if (values == 2) return Method::binary;
  if (values == 3) return Method::ternary;
  if (values != 32) refuse(str("wbab:", what, " is 2, 3 or 32 values, got ", values));
  return Method::none;
}

void set_bits(int bits, const char* what, Method& method, int& kept_bits) {
  if (bits == 32) return;
  if (bits < 1 || bits > 16) refuse(str("wqaq:", what, " is 1 to 16 or 32 bits, got ", bits));
  method = Method::dorefa;
  kept_bits = bits;
}

// The first item, if it is a short form.
bool parse_short(const std::string& item, Scheme& s) {
  if (item == "float") return true;
  const bool values = item.rfind("wbab:", 0) == 0, bits = item.rfind("wqaq:", 0) == 0;
  if (!values && !bits) return false;
  const auto [w, a] = w_and_a(item.substr(5), item);
  if (values) {
    s.weight = values_method(w, "W");
    s.activation = values_method(a, "A");
  } else {
    set_bits(w, "W", s.weight, s.weight_bits);
    set_bits(a, "A", s.activation, s.activation_bits);
    s.form = DorefaForm::micronet;
    s.keep = {"first"};
  }
  return true;
}

// Sets one "key=value"; returns the key if its use depends on the rest.
const Key* parse_item(const std::string& item, Scheme& s) {
  const size_t equals = item.find('=');
  if (equals == std::string::npos) refuse("'" + item + "' is neither a short form nor key=value");
  const std::string name = item.substr(0, equals), text = item.substr(equals + 1);
  if (name == "W") return set_method(text, "W", s.weight, s.weight_bits), nullptr;
  if (name == "A") return set_method(text, "A", s.activation, s.activation_bits), nullptr;
  for (const Key& key : keys()) {
    if (name == key.name) return &key;
  }
  refuse("there is no key '" + name + "'");
}

}  // namespace

Scheme parse_scheme(const std::string& text) {
  Scheme s;
  const std::vector<std::string> items = split(text, ',');
  if (items.empty()) refuse("the scheme is empty; say float for none");
  const size_t start = parse_short(items[0], s) ? 1 : 0;
  std::vector<std::pair<const Key*, std::string>> given;
  for (size_t i = start; i < items.size(); ++i) {
    if (const Key* key = parse_item(items[i], s)) {
      given.emplace_back(key, items[i].substr(items[i].find('=') + 1));
    }
  }
  // W and A are settled now; the other keys mean something only beside them.
  for (const auto& [key, value_text] : given) {
    if (!key->applies(s)) {
      refuse(str(key->name, " has no effect with W=", method_text(s.weight, s.weight_bits),
                 ",A=", method_text(s.activation, s.activation_bits)));
    }
    key->set(s, value_text);
  }
  if (s.xnor && s.place == Place::act) {
    refuse("xnor=on needs the real values that place=act has already replaced");
  }
  return s;
}

std::string to_string(const Scheme& s) {
  if (!s.active()) return "float";
  std::string text = "W=" + method_text(s.weight, s.weight_bits) +
                     ",A=" + method_text(s.activation, s.activation_bits);
  Scheme usual;
  usual.weight = s.weight;
  usual.activation = s.activation;
  for (const Key& key : keys()) {
    if (key.applies(s) && key.get(s) != key.get(usual)) text += str(",", key.name, "=", key.get(s));
  }
  return text;
}

std::string scheme_help() {
  std::ostringstream out;
  out << "  float               no quantizer\n"
         "  wbab:W2A2           2, 3 or 32 (float) values; first and last layer float\n"
         "  wqaq:W4A4           DoReFa, 1 to 16 or 32 (float) bits, micronet's form; first layer "
         "float\n"
         "  W=KIND,A=KIND       KIND is float, binary, ternary or dorefa:BITS\n"
         "  each may be followed by ,key=value\n";
  for (const Key& key : keys()) {
    out << "    " << key.name << std::string(14 - std::string_view(key.name).size(), ' ')
        << key.help << '\n';
  }
  return out.str();
}

}  // namespace pare::quant
