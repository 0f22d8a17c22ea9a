#pragma once
// Small data sets on disk, and what an error must say.

#include <doctest/doctest.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "datasets/datasets.h"
#include "tests/support/message.h"

namespace pare::test {

using Bytes = std::vector<uint8_t>;

/// A folder that disappears with its files.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "pare-test-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string path(const std::string& name = {}) const { return (path_ / name).string(); }

  /// Writes a file, and the folders above it.
  void write(const std::string& name, const Bytes& bytes) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream out(path_ / name, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    REQUIRE(out.good());
  }
  void write_gz(const std::string& name, const Bytes& bytes) const {
    gzFile out = gzopen(path(name).c_str(), "wb");
    REQUIRE(out != nullptr);
    REQUIRE(gzwrite(out, bytes.data(), static_cast<unsigned>(bytes.size())) ==
            static_cast<int>(bytes.size()));
    REQUIRE(gzclose(out) == Z_OK);
  }
  /// Keeps the first `size` bytes.
  void truncate(const std::string& name, uint64_t size) const {
    std::filesystem::resize_file(path_ / name, size);
  }

 private:
  std::filesystem::path path_;
};

/// A data set that lies in memory.
inline std::shared_ptr<const datasets::PixelSet> load_pixels(const datasets::LoadOptions& options) {
  auto set = std::dynamic_pointer_cast<const datasets::PixelSet>(datasets::load(options));
  REQUIRE(set);
  return set;
}

/// Checks that `message` mentions every part.
inline void check_mentions(const std::string& message, const std::vector<std::string>& parts) {
  CAPTURE(message);
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(contains(message, part));
  }
}

}  // namespace pare::test
