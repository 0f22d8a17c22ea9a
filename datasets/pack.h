#pragma once
// A split of photographs in one file: nothing to search, read in one piece, pictures shrunk once.
//
//   "parepack" 1                          8 bytes, version (u32)
//   pictures, one behind the other        JPEG or PNG, as they were or shrunk
//   index                                 class names; label, name, place of each picture
//   index: begin, bytes (u64), CRC-32 (u32), "parepack"
//
// Numbers are little-endian. The file comes to be under another name and is renamed when complete.

#include <functional>
#include <string>
#include <vector>

#include "datasets/datasets.h"

namespace pare::datasets {

struct PackOptions {
  std::string dir, out;  // as LoadOptions::dir; the folder for train.pack or val.pack
  Split split = Split::train;
  int64_t size = 256;  // shorter side of larger pictures; 0: all stay as they are
  int quality = 92;    // of the JPEGs that are written for them
  std::function<void(int64_t done, int64_t count)> progress = {};
};
struct Packed {
  std::string path;
  int64_t pictures = 0, shrunk = 0, classes = 0;
  int64_t bytes_before = 0, bytes = 0;
  std::vector<Unreadable> left_out = {};
};
/// Refuses to overwrite. What `progress` throws ends it, and leaves nothing.
Packed pack(const PackOptions& options);

}  // namespace pare::datasets
