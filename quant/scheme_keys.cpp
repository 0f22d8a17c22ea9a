#include "quant/scheme_keys.h"

#include <algorithm>
#include <sstream>
#include <type_traits>

namespace pare::quant::text {

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(str("quant: ", problem, "\n", scheme_help()), "parse_scheme");
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

}  // namespace

const std::vector<Key>& keys() {
  static const std::vector<Key> all = make_keys();
  return all;
}

}  // namespace pare::quant::text
