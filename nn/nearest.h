#pragma once

#include <string>
#include <vector>

namespace pare::nn {

/// The name that looks most like a mistyped one; empty if none does.
std::string nearest(const std::string& word, const std::vector<std::string>& names);

}  // namespace pare::nn
