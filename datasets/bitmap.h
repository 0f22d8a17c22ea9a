#pragma once
// Photographs while they are worked on. Private to datasets.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pare::datasets {

/// [height, width, 3] bytes.
struct Bitmap {
  int64_t height = 0, width = 0;
  std::vector<uint8_t> pixels = {};

  Bitmap() = default;
  Bitmap(int64_t h, int64_t w) : height(h), width(w), pixels(static_cast<size_t>(3 * h * w)) {}
  const uint8_t* row(int64_t i) const { return pixels.data() + 3 * width * i; }
  uint8_t* row(int64_t i) { return pixels.data() + 3 * width * i; }
};

/// Whole pixels of an image.
struct Window {
  int64_t y = 0, x = 0, height = 0, width = 0;
};

/// A part of a bitmap that may begin and end within pixels.
struct Box {
  double y = 0, x = 0, height = 0, width = 0;
};

}  // namespace pare::datasets
