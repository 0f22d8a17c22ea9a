#pragma once
// Files as programs need them: whole or not at all.

#include <functional>
#include <string>

namespace pare {

/// Writes `content` to path.tmp-<pid>, flushes it to disk, renames it over path. On any failure the temporary is
/// removed, an older file stays as it was, and Error says what the system said.
void write_file_atomically(const std::string& path, const std::string& content);
std::string read_file(const std::string& path);

}  // namespace pare
