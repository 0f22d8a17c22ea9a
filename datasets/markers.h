#pragma once
// What a photograph's file says before its pixels: segments of a JPEG, chunks of a PNG. Private to
// datasets.

#include <cstdint>
#include <span>

namespace pare::datasets {

using ByteSpan = std::span<const uint8_t>;

bool is_jpeg(ByteSpan file);
bool is_png(ByteSpan file);

/// 1 .. 8 as in the EXIF standard (TIFF tag 0x0112); 1, the usual, if the file does not say.
int orientation_of(ByteSpan file);

/// JPEG, without decoding it.
struct JpegOutline {
  bool has_scan = false;   // pixels follow
  bool has_end = false;    // the end marker is there: not cut off
  bool has_adobe = false;  // APP14, which says what four components are
};
JpegOutline outline_of(ByteSpan jpeg);
/// Whether every Huffman table has at most 256 codes and lies in its segment.
bool huffman_tables_fit(ByteSpan jpeg);

}  // namespace pare::datasets
