#pragma once
// The libraries that read and write images, each in a file of its own. Private to datasets. All
// throw Error with a reason.

#include <optional>
#include <string>

#include "datasets/bitmap.h"
#include "datasets/markers.h"

namespace pare::datasets {

struct Extent {
  int64_t height = 0, width = 0;
};

namespace stb {

Extent extent(ByteSpan file);
/// JPEG and PNG of any kind: grey, palette, 16 bits (the upper eight), CMYK; alpha is left out.
Bitmap decode(ByteSpan file);
std::vector<uint8_t> encode_jpeg(const Bitmap& image, int quality);

}  // namespace stb

namespace turbo {

/// Whether this build has libjpeg-turbo; the others throw without it.
std::string version();  // empty: it has not
Extent extent(ByteSpan jpeg);

/// Rows and columns that hold the window of the image shrunk by 1, 2, 4 or 8. `at` is where the
/// bitmap's first pixel lies in the whole shrunk image.
struct Piece {
  Bitmap bitmap;
  Window at;
};
Piece decode(ByteSpan jpeg, const Window& window, int shrink);
std::vector<uint8_t> encode_jpeg(const Bitmap& image, int quality);

}  // namespace turbo

}  // namespace pare::datasets
