#pragma once
// Files as programs need them: whole or not at all.

#include <string>
#include <string_view>
#include <vector>

namespace pare {

/// Writes the parts, one after the other, to path.tmp-<pid>, flushes them to disk and renames over
/// path. On any failure the temporary is removed, an older file stays as it was, and Error says
/// what the system said.
void write_file_atomically(const std::string& path, const std::vector<std::string_view>& parts);
std::string read_file(const std::string& path);

}  // namespace pare
