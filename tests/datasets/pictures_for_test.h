#pragma once
// Pictures made here, as files.

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "datasets/codecs.h"
#include "tests/datasets/files_for_test.h"

namespace pare::test {

using datasets::Bitmap;

/// Something that differs from neighbour to neighbour.
inline Bitmap pattern(int64_t height, int64_t width) {
  Bitmap x(height, width);
  for (int64_t i = 0; i < height; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      for (int64_t c = 0; c < 3; ++c) {
        x.row(i)[3 * j + c] = static_cast<uint8_t>(i * 31 + j * 17 + c * 53 + (i * j * 7) % 61);
      }
    }
  }
  return x;
}

/// Smooth, as photographs are: JPEG keeps it nearly. `seed` turns it into another one.
inline Bitmap scenery(int64_t height, int64_t width, int seed = 0) {
  Bitmap x(height, width);
  for (int64_t i = 0; i < height; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      const double u = 6.0 * static_cast<double>(i) / static_cast<double>(height);
      const double v = 6.0 * static_cast<double>(j) / static_cast<double>(width);
      for (int c = 0; c < 3; ++c) {
        const double wave = std::sin(u * (1 + c) + seed) + std::cos(v + 2 * c + seed * 0.7);
        x.row(i)[3 * j + c] = static_cast<uint8_t>(127.5 + 60 * wave);
      }
    }
  }
  return x;
}

inline void put_be(Bytes& to, uint32_t v, int width) {
  for (int i = width; i-- > 0;) to.push_back(static_cast<uint8_t>(v >> 8 * i));
}

inline void put_chunk(Bytes& png, const std::string& name, const Bytes& data) {
  put_be(png, static_cast<uint32_t>(data.size()), 4);
  Bytes body(name.begin(), name.end());
  body.insert(body.end(), data.begin(), data.end());
  png.insert(png.end(), body.begin(), body.end());
  put_be(png, static_cast<uint32_t>(crc32(0, body.data(), static_cast<uInt>(body.size()))), 4);
}

/// TIFF with one entry: the orientation.
inline Bytes orientation_tiff(int orientation, bool little = false) {
  const uint8_t o = static_cast<uint8_t>(orientation);
  if (little) {
    return {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, o, 0, 0, 0, 0, 0, 0, 0};
  }
  return {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, o, 0, 0, 0, 0, 0, 0};
}

struct Png {
  int64_t height, width;
  int color = 2;  // 0 grey, 2 RGB, 6 RGBA
  int bits = 8;
  int orientation = 0;  // > 0: with an eXIf chunk
};
/// `rows`: the samples, big-endian, row by row.
inline Bytes png_of(const Png& p, const Bytes& rows) {
  Bytes png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'}, head;
  put_be(head, static_cast<uint32_t>(p.width), 4);
  put_be(head, static_cast<uint32_t>(p.height), 4);
  for (int v : {p.bits, p.color, 0, 0, 0}) head.push_back(static_cast<uint8_t>(v));
  put_chunk(png, "IHDR", head);
  if (p.orientation > 0) put_chunk(png, "eXIf", orientation_tiff(p.orientation));
  Bytes raw;
  const size_t length = rows.size() / static_cast<size_t>(p.height);
  for (size_t i = 0; i < static_cast<size_t>(p.height); ++i) {
    raw.push_back(0);  // no filter
    raw.insert(raw.end(), rows.begin() + static_cast<std::ptrdiff_t>(i * length),
               rows.begin() + static_cast<std::ptrdiff_t>((i + 1) * length));
  }
  uLongf size = compressBound(static_cast<uLong>(raw.size()));
  Bytes packed(size);
  REQUIRE(compress(packed.data(), &size, raw.data(), static_cast<uLong>(raw.size())) == Z_OK);
  packed.resize(size);
  put_chunk(png, "IDAT", packed);
  put_chunk(png, "IEND", {});
  return png;
}
inline Bytes png_of(const Bitmap& x, int orientation = 0) {
  return png_of({x.height, x.width, 2, 8, orientation}, x.pixels);
}

inline Bytes jpeg_of(const Bitmap& x, int quality = 90) {
  return datasets::stb::encode_jpeg(x, quality);
}

/// The JPEG with an EXIF segment.
inline Bytes turned_jpeg(Bytes jpeg, int orientation, bool little) {
  Bytes segment = {0xFF, 0xE1};
  const Bytes tiff = orientation_tiff(orientation, little);
  put_be(segment, static_cast<uint32_t>(tiff.size() + 8), 2);
  for (char c : {'E', 'x', 'i', 'f', '\0', '\0'}) segment.push_back(static_cast<uint8_t>(c));
  segment.insert(segment.end(), tiff.begin(), tiff.end());
  jpeg.insert(jpeg.begin() + 2, segment.begin(), segment.end());
  return jpeg;
}

/// The largest difference of two values, and the mean one.
struct Difference {
  int largest = 0;
  double mean = 0;
};
inline Difference difference(const Bytes& a, const Bytes& b) {
  REQUIRE(a.size() == b.size());
  Difference d;
  for (size_t i = 0; i < a.size(); ++i) {
    const int gap = std::abs(int{a[i]} - int{b[i]});
    d.largest = std::max(d.largest, gap);
    d.mean += gap;
  }
  d.mean /= static_cast<double>(a.size());
  return d;
}

/// A folder below PARE_DATA, or below data/ in the project; empty, with a note, if it is not there.
inline std::string real_data(const std::string& name) {
  const char* given = std::getenv("PARE_DATA");
  const std::string dir = std::string(given ? given : "data") + "/" + name;
  if (std::filesystem::is_directory(dir)) return dir;
  MESSAGE("skipped: there is no folder ", dir, "; PARE_DATA names the one above");
  return {};
}

}  // namespace pare::test
