#pragma once
// One photograph: JPEG or PNG bytes to upright pixels. Private to datasets.

#include <string>

#include "datasets/bitmap.h"
#include "datasets/markers.h"

namespace pare::datasets {

/// A file in memory whose header was read. Throws Error, with the reason alone as its message, if
/// it holds no picture that can be decoded right: cut off, damaged, another format, too large.
class Photo {
 public:
  explicit Photo(ByteSpan file);

  int64_t height() const { return turned() ? stored_width_ : stored_height_; }
  int64_t width() const { return turned() ? stored_height_ : stored_width_; }

  /// What was decoded: at least the window that was asked for.
  struct Part {
    Bitmap bitmap;
    int shrink = 1;        // 2, 4, 8: each pixel is the mean of so many in both directions
    int64_t y = 0, x = 0;  // of the bitmap's first pixel, once shrunk
    Box find(const Box& box) const;  // in the bitmap
  };
  /// A JPEG decoder that can do so shrinks while it decodes, by no more than `most_shrink`.
  Part decode(const Window& window, double most_shrink = 1) const;
  /// All of it, unscaled.
  Bitmap decode() const { return decode({0, 0, height(), width()}).bitmap; }

  int orientation() const { return orientation_; }

 private:
  bool turned() const { return orientation_ > 4; }

  ByteSpan file_;
  bool jpeg_;
  int orientation_;
  int64_t stored_height_ = 0, stored_width_ = 0;
};

/// What decodes JPEG in this build: "libjpeg-turbo 2.1.5" or "stb_image".
std::string jpeg_decoder();

}  // namespace pare::datasets
