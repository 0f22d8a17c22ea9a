#include "datasets/photo.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "datasets/codecs.h"

namespace pare::datasets {

namespace {

/// Columns become rows.
Bitmap transpose(const Bitmap& x) {
  Bitmap y(x.width, x.height);
  for (int64_t i = 0; i < y.height; ++i) {
    for (int64_t j = 0; j < y.width; ++j) std::copy_n(x.row(j) + 3 * i, 3, y.row(i) + 3 * j);
  }
  return y;
}

void mirror_columns(Bitmap& x) {
  for (int64_t i = 0; i < x.height; ++i) {
    uint8_t* row = x.row(i);
    for (int64_t a = 0, b = x.width - 1; a < b; ++a, --b) {
      std::swap_ranges(row + 3 * a, row + 3 * a + 3, row + 3 * b);
    }
  }
}

void mirror_rows(Bitmap& x) {
  for (int64_t a = 0, b = x.height - 1; a < b; ++a, --b) {
    std::swap_ranges(x.row(a), x.row(a) + 3 * x.width, x.row(b));
  }
}

/// EXIF 2.3, 4.6.4: where the stored first row and first column are seen.
///   1 top left     2 top right     3 bottom right  4 bottom left
///   5 left top     6 right top     7 right bottom  8 left bottom
Bitmap upright(Bitmap x, int orientation) {
  if (orientation > 4) x = transpose(x);
  const bool right = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool bottom = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  if (right) mirror_columns(x);
  if (bottom) mirror_rows(x);
  return x;
}

void check_whole(ByteSpan jpeg) {
  const JpegOutline outline = outline_of(jpeg);
  PARE_CHECK(outline.has_scan, "JPEG without pixels");
  PARE_CHECK(outline.has_end, "JPEG that is cut off");
}

Extent extent_of(ByteSpan file, bool jpeg) {
  return jpeg && !turbo::version().empty() ? turbo::extent(file) : stb::extent(file);
}

}  // namespace

Photo::Photo(ByteSpan file) : file_(file), jpeg_(is_jpeg(file)) {
  PARE_CHECK(!file.empty(), "empty file");
  PARE_CHECK(jpeg_ || is_png(file), "neither JPEG nor PNG");
  if (jpeg_) check_whole(file);
  const Extent e = extent_of(file, jpeg_);
  // A small file can claim any size: beyond this it is damaged, or an attack.
  constexpr int64_t kMostPixels = 178956970;
  PARE_CHECK(e.height > 0 && e.width > 0 && e.height <= kMostPixels / e.width, "image of ",
             e.height, "x", e.width, " pixels, expected at most ", kMostPixels);
  orientation_ = orientation_of(file);
  stored_height_ = e.height, stored_width_ = e.width;
}

Photo::Part Photo::decode(const Window& window, double most_shrink) const {
  Part part;
  if (!jpeg_ || turbo::version().empty()) {
    part.bitmap = upright(stb::decode(file_), orientation_);
    return part;
  }
  const bool plain = orientation_ == 1;  // turned pictures are rare: all of it, then turn
  for (int shrink = 2; plain && shrink <= 8 && shrink <= most_shrink; shrink *= 2) {
    part.shrink = shrink;
  }
  const Window all{0, 0, stored_height_, stored_width_};
  turbo::Piece piece = turbo::decode(file_, plain ? window : all, part.shrink);
  part.bitmap = upright(std::move(piece.bitmap), orientation_);
  part.y = piece.at.y, part.x = piece.at.x;
  return part;
}

Box Photo::Part::find(const Box& box) const {
  return {box.y / shrink - static_cast<double>(y), box.x / shrink - static_cast<double>(x),
          box.height / shrink, box.width / shrink};
}

std::string jpeg_decoder() {
  const std::string version = turbo::version();
  return version.empty() ? "stb_image" : "libjpeg-turbo " + version;
}

}  // namespace pare::datasets
