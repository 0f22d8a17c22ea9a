// Schemes as text; what may be said is in scheme_keys.cpp.

#include <sstream>
#include <string_view>

#include "quant/scheme.h"
#include "quant/scheme_keys.h"

namespace pare::quant {

namespace {

using text::Key, text::keys, text::number, text::refuse, text::split;

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
