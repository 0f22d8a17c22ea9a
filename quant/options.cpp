#include "quant/options.h"

#include <algorithm>
#include <sstream>

#include "core/error.h"
#include "nn/nearest.h"

namespace pare::quant {

const std::string& Options::word(const std::string& name) const {
  const auto it = find(name);
  PARE_CHECK(it != end(), "quant: the option ", name, " is not there");
  return it->second;
}

double Options::number(const std::string& name) const {
  std::istringstream in(word(name));
  double value = 0;
  in >> value;
  return value;
}

namespace {

std::string shortest(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

std::string checked_number(const Option& option, const std::string& text, const std::string& who) {
  std::istringstream in(text);
  double value = 0;
  const bool whole = static_cast<bool>(in >> value) && in.peek() == EOF;
  PARE_CHECK(whole && value >= option.min && value < option.max, "quant: ", who, ": ", option.name,
             " is a number from ", option.min, " to below ", option.max, ", got '", text, "'");
  return shortest(value);
}

}  // namespace

std::string checked(const Option& option, const std::string& text, const std::string& who) {
  if (option.words.empty()) return checked_number(option, text, who);
  const auto why = option.refused.find(text);
  PARE_CHECK(why == option.refused.end(), "quant: ", who, ": ", option.name, "=", text,
             " makes no sense: ", why == option.refused.end() ? "" : why->second,
             hint(option.name + " is one of " + join(option.words)));
  const bool known =
      std::find(option.words.begin(), option.words.end(), text) != option.words.end();
  PARE_CHECK(known, "quant: ", who, ": ", option.name, " is one of ", join(option.words), "; got '",
             text, "'", did_you_mean(text, option.words));
  return text;
}

Options complete(const std::vector<Option>& options, const Options& given, const std::string& who) {
  Options all;
  std::vector<std::string> names;
  for (const Option& o : options) {
    names.push_back(o.name);
    const auto it = given.find(o.name);
    all[o.name] = it == given.end() ? o.usual : checked(o, it->second, who);
  }
  for (const auto& [name, text] : given) {
    PARE_CHECK(all.count(name), "quant: ", name, " has no effect on ", who,
               did_you_mean(name, names),
               hint(names.empty() ? who + " has no options" : who + " knows " + join(names)));
  }
  return all;
}

std::string nearest(const std::string& word, const std::vector<std::string>& names) {
  return nn::nearest(word, names);
}

std::string join(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& w : words) all += (all.empty() ? "" : ", ") + w;
  return all;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& names) {
  const std::string name = nearest(word, names);
  return name.empty() ? name : ". Did you mean " + name + "?";
}

}  // namespace pare::quant
