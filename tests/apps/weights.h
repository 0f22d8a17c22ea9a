#pragma once

#include <doctest/doctest.h>

#include <string>

#include "core/safetensors.h"

namespace pare::test {

/// Equal entries; the metadata holds the seconds and may differ.
inline void check_equal_weights(const std::string& a, const std::string& b) {
  const auto fa = safetensors::read(a), fb = safetensors::read(b);
  REQUIRE(fa.entries.size() == fb.entries.size());
  for (const auto& item : fa.entries) {  // clang 14: a lambda, as CAPTURE makes, takes no binding
    const std::string& name = item.first;
    CAPTURE(name);
    REQUIRE(fb.has(name));
    CHECK(item.second.bytes == fb.at(name).bytes);
  }
}

}  // namespace pare::test
