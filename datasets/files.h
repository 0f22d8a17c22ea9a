#pragma once
// Finding and reading a data set's files. Private to datasets.

#include <cstdint>
#include <string>
#include <vector>

namespace pare::datasets {

/// What a data set looks like on disk, for finding it and for telling what is missing.
struct Layout {
  std::string set;                   // "cifar10", first word of every message
  std::vector<std::string> folders;  // tried below the given one, after the given one itself
  std::vector<std::string> files;    // any of them marks the folder
  std::string hint;
};

/// The folder that holds the files.
std::string find_folder(const Layout& layout, const std::string& dir);
/// Throws if `path` is not there.
void need_file(const Layout& layout, const std::string& path);
/// All bytes; gzip is unpacked.
std::vector<uint8_t> read_bytes(const Layout& layout, const std::string& path);
/// "FILE: image I has label L, expected 0 .. classes - 1"
void check_label(const Layout& layout, const std::string& path, int64_t image, int label,
                 int64_t classes);

}  // namespace pare::datasets
