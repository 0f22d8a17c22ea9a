#include "datasets/files.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "core/error.h"

namespace pare::datasets {

namespace fs = std::filesystem;

namespace {

struct CloseGz {
  void operator()(gzFile file) const { gzclose(file); }
};
using GzFile = std::unique_ptr<gzFile_s, CloseGz>;

std::string quoted(const std::string& text) { return "'" + text + "'"; }

}  // namespace

std::string find_folder(const Layout& layout, const std::string& dir) {
  std::error_code ignored;
  PARE_CHECK(!dir.empty(), layout.set, ": no folder was given", hint(layout.hint));
  PARE_CHECK(fs::is_directory(dir, ignored), layout.set, ": there is no folder ", quoted(dir),
             hint(layout.hint));
  std::vector<fs::path> candidates{dir};
  for (const std::string& sub : layout.folders) candidates.push_back(fs::path(dir) / sub);
  for (const fs::path& folder : candidates) {
    const bool found = std::any_of(layout.files.begin(), layout.files.end(),
                                   [&](const auto& f) { return fs::exists(folder / f, ignored); });
    if (found) return folder.string();
  }
  PARE_CHECK(false, layout.set, ": no ", layout.files.front(), " in ", quoted(dir), " or in ",
             quoted(candidates.back().string()), hint(layout.hint));
  return {};
}

void need_file(const Layout& layout, const std::string& path) {
  std::error_code ignored;
  PARE_CHECK(fs::is_regular_file(path, ignored), layout.set, ": there is no file ", quoted(path),
             hint(layout.hint));
}

std::vector<uint8_t> read_bytes(const Layout& layout, const std::string& path) {
  need_file(layout, path);
  errno = 0;
  const GzFile file(gzopen(path.c_str(), "rb"));  // passes a file that is not gzip through as it is
  PARE_CHECK(file, layout.set, ": cannot open ", quoted(path), ": ",
             errno ? std::strerror(errno) : "out of memory");
  constexpr size_t kChunk = size_t{1} << 20;
  gzbuffer(file.get(), kChunk);
  std::vector<uint8_t> bytes;
  size_t size = 0;
  for (;;) {
    if (bytes.size() < size + kChunk) bytes.resize(2 * size + kChunk);
    const int n = gzread(file.get(), bytes.data() + size, kChunk);
    if (n <= 0) break;
    size += static_cast<size_t>(n);
  }
  int code = Z_OK;  // a gzip stream that ends early is an error only here, not in gzread
  const char* text = gzerror(file.get(), &code);
  PARE_CHECK(code == Z_OK || code == Z_STREAM_END, layout.set, ": ", quoted(path),
             " is damaged or cut off after ", size,
             " bytes: ", code == Z_ERRNO ? std::strerror(errno) : text, hint(layout.hint));
  bytes.resize(size);
  return bytes;
}

void check_label(const Layout& layout, const std::string& path, int64_t image, int label,
                 int64_t classes) {
  PARE_CHECK(label >= 0 && label < classes, layout.set, ": ", quoted(path), ": image ", image,
             " has label ", label, ", expected 0 to ", classes - 1, hint(layout.hint));
}

}  // namespace pare::datasets
