#include "datasets/markers.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace pare::datasets {

namespace {

constexpr int kUpright = 1;

/// Numbers out of a file, in its byte order; 0 behind its end.
struct Reader {
  ByteSpan bytes;
  bool little = false;

  uint32_t number(size_t at, size_t width) const {
    if (at > bytes.size() || bytes.size() - at < width) return 0;
    uint32_t v = 0;
    for (size_t i = 0; i < width; ++i) {
      v = v << 8 | bytes[at + (little ? width - 1 - i : i)];
    }
    return v;
  }
};

bool begins_with(ByteSpan bytes, std::span<const uint8_t> with) {
  return bytes.size() >= with.size() && std::equal(with.begin(), with.end(), bytes.begin());
}

/// The TIFF header and the entries of its first directory.
int orientation_of_tiff(ByteSpan tiff) {
  Reader in{tiff};
  if (tiff.size() < 8 || (tiff[0] != 'I' && tiff[0] != 'M') || tiff[0] != tiff[1]) return kUpright;
  in.little = tiff[0] == 'I';
  constexpr size_t kEntry = 12;
  constexpr uint32_t kOrientation = 0x0112, kShort = 3;
  const size_t directory = in.number(4, 4);
  const size_t entries = in.number(directory, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t at = directory + 2 + i * kEntry;
    if (at > tiff.size()) break;
    if (in.number(at, 2) != kOrientation || in.number(at + 2, 2) != kShort) continue;
    const uint32_t value = in.number(at + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : kUpright;
  }
  return kUpright;
}

/// f(marker, payload) for each segment up to the first scan, as long as it returns true. The
/// position behind the first scan's header, or 0 if there is none.
template <class F>
size_t for_segments(ByteSpan jpeg, F&& f) {
  constexpr uint8_t kScan = 0xDA, kEnd = 0xD9;
  const Reader in{jpeg};
  for (size_t at = 2; at + 4 <= jpeg.size();) {
    if (jpeg[at] != 0xFF) return 0;
    const uint8_t marker = jpeg[at + 1];
    if (marker == 0xFF) {  // fill byte
      ++at;
      continue;
    }
    if (marker == kEnd) return 0;
    const size_t length = in.number(at + 2, 2);
    if (length < 2 || length > jpeg.size() - at - 2) return 0;
    if (!f(marker, jpeg.subspan(at + 4, length - 2))) return 0;
    at += 2 + length;
    if (marker == kScan) return at;
  }
  return 0;
}

int orientation_of_jpeg(ByteSpan jpeg) {
  static constexpr std::array<uint8_t, 6> kExif = {'E', 'x', 'i', 'f', 0, 0};
  int found = kUpright;
  for_segments(jpeg, [&](uint8_t marker, ByteSpan payload) {
    if (marker != 0xE1 || !begins_with(payload, kExif)) return true;
    found = orientation_of_tiff(payload.subspan(kExif.size()));
    return false;
  });
  return found;
}

int orientation_of_png(ByteSpan png) {
  const Reader in{png};
  for (size_t at = 8; at + 12 <= png.size();) {
    const size_t length = in.number(at, 4);
    if (length > png.size() - at - 12) break;
    const char* name = reinterpret_cast<const char*>(png.data() + at + 4);
    if (std::memcmp(name, "eXIf", 4) == 0) return orientation_of_tiff(png.subspan(at + 8, length));
    if (std::memcmp(name, "IDAT", 4) == 0) break;
    at += 12 + length;
  }
  return kUpright;
}

/// Tables one behind the other: class and number, how many codes have 1, ..., 16 bits, the codes.
bool tables_fit(ByteSpan segment) {
  constexpr size_t kHead = 17, kMostCodes = 256;
  while (!segment.empty()) {
    if (segment.size() < kHead) return false;
    size_t codes = 0;
    for (size_t i = 1; i < kHead; ++i) codes += segment[i];
    if (codes > kMostCodes || segment.size() < kHead + codes) return false;
    segment = segment.subspan(kHead + codes);
  }
  return true;
}

}  // namespace

bool is_jpeg(ByteSpan file) {
  static constexpr std::array<uint8_t, 3> kMagic = {0xFF, 0xD8, 0xFF};
  return begins_with(file, kMagic);
}

bool is_png(ByteSpan file) {
  static constexpr std::array<uint8_t, 8> kMagic = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  return begins_with(file, kMagic);
}

int orientation_of(ByteSpan file) {
  if (is_jpeg(file)) return orientation_of_jpeg(file);
  return is_png(file) ? orientation_of_png(file) : kUpright;
}

JpegOutline outline_of(ByteSpan jpeg) {
  static constexpr std::array<uint8_t, 5> kAdobe = {'A', 'd', 'o', 'b', 'e'};
  JpegOutline outline;
  const size_t scan = for_segments(jpeg, [&](uint8_t marker, ByteSpan payload) {
    outline.has_adobe |= marker == 0xEE && begins_with(payload, kAdobe);
    return true;
  });
  outline.has_scan = scan > 0;
  // Within a scan 0xFF is followed by 0 or a restart marker, never by this. Mostly at the very end.
  for (size_t i = jpeg.size(); outline.has_scan && i >= scan + 2; --i) {
    if (jpeg[i - 2] == 0xFF && jpeg[i - 1] == 0xD9) {
      outline.has_end = true;
      break;
    }
  }
  return outline;
}

bool huffman_tables_fit(ByteSpan jpeg) {
  constexpr uint8_t kTables = 0xC4;
  bool fit = true;
  const size_t scan = for_segments(jpeg, [&](uint8_t marker, ByteSpan payload) {
    fit = fit && (marker != kTables || tables_fit(payload));
    return true;
  });
  // Between the scans of a progressive picture there are more.
  const Reader in{jpeg};
  for (size_t at = scan; scan > 0 && at + 4 <= jpeg.size(); ++at) {
    if (jpeg[at] != 0xFF || jpeg[at + 1] != kTables) continue;
    const size_t length = in.number(at + 2, 2);
    fit = fit && length >= 2 && length <= jpeg.size() - at - 2 &&
          tables_fit(jpeg.subspan(at + 4, length - 2));
  }
  return fit;
}

}  // namespace pare::datasets
