#pragma once

#include <string>
#include <vector>

namespace pare::nn {

/// Insertions, deletions and replacements that turn a into b (Levenshtein).
size_t edit_distance(const std::string& a, const std::string& b);

/// The name that looks most like a mistyped one; empty if none does.
std::string nearest(const std::string& word, const std::vector<std::string>& names);

}  // namespace pare::nn
