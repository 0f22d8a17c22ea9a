#pragma once
// What quantizers and observers can be told: options with names, as text. The scheme grammar,
// config files and the registry all speak of them in these terms.

#include <map>
#include <string>
#include <vector>

namespace pare::quant {

/// One word of a list, or a number.
struct Option {
  std::string name, help;
  std::vector<std::string> words = {};  // what it may be; empty: a number from min to below max
  double min = 0, max = 0;
  std::string usual;                                // if nothing is said
  std::map<std::string, std::string> refused = {};  // words that are refused, and why
};

/// Values by the name of their option.
struct Options : std::map<std::string, std::string> {
  using map::map;
  /// Of an option that must be there.
  const std::string& word(const std::string& name) const;
  double number(const std::string& name) const;
  bool is(const std::string& name, const std::string& word) const {
    return this->word(name) == word;
  }
};

/// The text a value of this option is written as; throws if it is none, saying why. `who` names the
/// quantizer or observer.
std::string checked(const Option& option, const std::string& text, const std::string& who);
/// Every option: checked if given, else its usual value. Throws on a name that is none.
Options complete(const std::vector<Option>& options, const Options& given, const std::string& who);

/// The name that looks most like a mistyped one; empty if none does.
std::string nearest(const std::string& word, const std::vector<std::string>& names);
std::string join(const std::vector<std::string>& words);
/// ". Did you mean lsq?", or nothing.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& names);

}  // namespace pare::quant
