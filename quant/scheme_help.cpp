// What can be said in a scheme.

#include <algorithm>
#include <map>
#include <sstream>

#include "quant/scheme.h"

namespace pare::quant {

namespace {

constexpr size_t kWidth = 96;

std::string padded(std::string text, size_t width) {
  text.resize(std::max(width, text.size() + 1), ' ');
  return text;
}

/// Words after a label, in lines of at most kWidth.
std::string wrapped(std::string label, const std::vector<std::string>& words) {
  std::string text, line = std::move(label);
  const size_t indent = line.size();
  for (const std::string& w : words) {
    if (line.size() > indent && line.size() + 1 + w.size() > kWidth) {
      text += line + "\n";
      line.assign(indent, ' ');
    }
    line += (line.size() > indent ? " " : "") + w;
  }
  return text + line + "\n";
}

std::vector<std::string> words_of(const std::string& sentence) {
  std::istringstream in(sentence);
  std::vector<std::string> words;
  for (std::string w; in >> w;) words.push_back(w);
  return words;
}

/// "per=channel|tensor": the usual one first; "momentum=0.1" for a number.
std::string values(const Option& o) {
  std::string text = o.name + "=" + o.usual;
  for (const std::string& w : o.words) {
    if (w != o.usual) text += "|" + w;
  }
  return text;
}

using Meanings = std::map<std::string, std::string>;

std::string side(const char* label, const std::vector<Option>& options, Meanings& meanings) {
  if (options.empty()) return {};
  std::vector<std::string> words;
  for (const Option& o : options) {
    words.push_back(values(o));
    std::string& meaning = meanings[o.name];
    if (meaning.find(o.help) == std::string::npos)
      meaning += (meaning.empty() ? "" : "; ") + o.help;
  }
  return wrapped(label, words);
}

std::string bits(const QuantizerInfo& q) {
  return q.max_bits == 0 ? q.name : str(q.name, ":", q.min_bits, "-", q.max_bits);
}

constexpr const char* kForms =
    "Forms\n"
    "  float           no quantizer\n"
    "  W=KIND,A=KIND   for weights and activations: float or a quantizer below, such as lsq:4\n"
    "  NAME:W4A4       both of one kind, 32 for float; pact goes with DoReFa weights\n"
    "  wbab:W2A2       2, 3 or 32 (float) values; first and last layer float\n"
    "  wqaq:W4A4       DoReFa, 1 to 16 or 32 (float) bits, micronet's form; first layer float\n"
    "each may go on with ,key=value\n"
    "  keep            layers left float: first, last, paths with *, joined by +, or none\n"
    "  edges           quantizer of the first and the last layer, such as lsq:8; they are not\n"
    "                  left float then\n"
    "  bits            of some layers: conv1:8+layer3.*:2 (32: float; of names that fit, the last\n"
    "                  one holds); w_bits, a_bits: of their weights or inputs alone\n"
    "  place           where activations are quantized: auto, act (in place of the\n"
    "                  nonlinearity), input\n"
    "  bn              apart, fused (batch norm is folded into the convolution in training, too),\n"
    "                  corrected (likewise, weights folded with running statistics)\n"
    "  xnor            on: multiply outputs by XNOR-Net's K (binary activations)\n"
    "and with options, which hold for weights and activations, or for one with w_ or a_ before\n"
    "their name. What is listed first is used if nothing is said.\n";

}  // namespace

std::string scheme_help() {
  std::ostringstream out;
  Meanings meanings;
  out << kForms << "Quantizers\n";
  for (const QuantizerInfo& q : quantizers()) {
    out << "  " << padded(bits(q), 16) << q.summary << '\n';
    if (!q.options) continue;
    if (q.no_weights.empty()) out << side("      W  ", q.options(Role::weight), meanings);
    if (q.no_activations.empty()) out << side("      A  ", q.options(Role::activation), meanings);
  }
  out << "Observers\n";
  for (const ObserverInfo& o : observers()) {
    out << "  " << padded(o.name, 16) << o.summary << '\n' << side("      ", o.options, meanings);
  }
  out << "Options\n";
  for (const auto& [name, meaning] : meanings) {
    out << wrapped("  " + padded(name, 16), words_of(meaning));
  }
  return out.str();
}

}  // namespace pare::quant
