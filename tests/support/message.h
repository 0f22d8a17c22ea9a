#pragma once

#include <string>
#include <string_view>

#include "core/error.h"

namespace pare::test {

/// What f throws, or nothing.
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

inline bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace pare::test
