#pragma once
// How a scheme is spelled: the keys of its text form. For scheme_text.cpp.

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "quant/scheme.h"

namespace pare::quant::text {

/// One ",key=value" of a scheme.
struct Key {
  const char* name;
  const char* help;
  std::function<bool(const Scheme&)> applies;  // whether it has any effect
  std::function<void(Scheme&, const std::string&)> set;
  std::function<std::string(const Scheme&)> get;
};

/// All of them, in the order in which they are written.
const std::vector<Key>& keys();

/// Throws: the problem, then the accepted forms.
[[noreturn]] void refuse(const std::string& problem);
std::vector<std::string> split(const std::string& text, char separator);
/// One or two digits.
int number(const std::string& text, const std::string& what);

}  // namespace pare::quant::text
