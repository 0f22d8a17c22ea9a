// stb_image and stb_image_write, in their own file: their code is compiled here.

#include <algorithm>
#include <climits>
#include <memory>

#include "core/error.h"
#include "datasets/codecs.h"

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#include <stb/stb_image.h>
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image_write.h>

namespace pare::datasets::stb {

namespace {

int size_of(ByteSpan file) {
  PARE_CHECK(file.size() <= INT_MAX, "file of ", file.size(), " bytes");
  return static_cast<int>(file.size());
}

/// Versions before 2.28 write beyond a table with more codes than there can be.
void check_tables(ByteSpan file) {
  PARE_CHECK(!is_jpeg(file) || huffman_tables_fit(file), "damaged: bad Huffman table");
}

std::string reason() {
  const char* text = stbi_failure_reason();
  return text ? text : "no reason given";
}

}  // namespace

Extent extent(ByteSpan file) {
  check_tables(file);
  int width = 0, height = 0, channels = 0;
  const int ok = stbi_info_from_memory(file.data(), size_of(file), &width, &height, &channels);
  PARE_CHECK(ok, "damaged header: ", reason());
  return {height, width};
}

Bitmap decode(ByteSpan file) {
  check_tables(file);
  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
      stbi_load_from_memory(file.data(), size_of(file), &width, &height, &channels, 3),
      stbi_image_free);
  PARE_CHECK(pixels, "damaged: ", reason());
  Bitmap image(height, width);
  std::copy_n(pixels.get(), image.pixels.size(), image.pixels.begin());
  return image;
}

std::vector<uint8_t> encode_jpeg(const Bitmap& image, int quality) {
  std::vector<uint8_t> bytes;
  const auto append = [](void* context, void* data, int size) {
    auto& to = *static_cast<std::vector<uint8_t>*>(context);
    const auto* from = static_cast<const uint8_t*>(data);
    to.insert(to.end(), from, from + size);
  };
  const int ok =
      stbi_write_jpg_to_func(append, &bytes, static_cast<int>(image.width),
                             static_cast<int>(image.height), 3, image.pixels.data(), quality);
  PARE_CHECK(ok, "cannot write an image of ", image.height, "x", image.width, " as JPEG");
  return bytes;
}

}  // namespace pare::datasets::stb
