// libjpeg-turbo, where CMake found it (PARE_TURBO).

#include "core/error.h"
#include "datasets/codecs.h"

#ifdef PARE_TURBO

// clang-format off
#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it and does not say so
#include <cstdlib>

#include <jpeglib.h>
#include <jerror.h>
// clang-format on

namespace pare::datasets::turbo {

namespace {

/// Errors jump back to where the work began: C frames lie between, no exception may cross them.
struct Errors {
  jpeg_error_mgr base;  // first: the library hands out pointers to it
  std::jmp_buf back;
  char text[JMSG_LENGTH_MAX] = {};
};

[[noreturn]] void give_up(j_common_ptr jpeg) {
  auto* errors = reinterpret_cast<Errors*>(jpeg->err);
  jpeg->err->format_message(jpeg, errors->text);
  std::longjmp(errors->back, 1);
}

/// Level -1 is a warning. Those that mean wrong pixels end the work, others do no harm.
void on_message(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  switch (jpeg->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
      give_up(jpeg);
    default:
      break;
  }
}

void set_up(Errors& errors) {
  jpeg_std_error(&errors.base);
  errors.base.error_exit = give_up;
  errors.base.emit_message = on_message;
}

/// A decoder that is freed whatever happens.
struct Decoder {
  jpeg_decompress_struct jpeg{};
  Errors errors;

  Decoder() {
    set_up(errors);
    jpeg.err = &errors.base;
  }
  ~Decoder() { jpeg_destroy_decompress(&jpeg); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
};

bool read_header(Decoder& d, ByteSpan file) {
  if (setjmp(d.errors.back)) return false;
  jpeg_create_decompress(&d.jpeg);
  jpeg_mem_src(&d.jpeg, file.data(), static_cast<unsigned long>(file.size()));
  jpeg_read_header(&d.jpeg, TRUE);
  return true;
}

/// What of the window there is once shrunk: its pixels, rounded outwards.
Window shrunk(const Window& w, int64_t shrink) {
  const int64_t y = w.y / shrink, x = w.x / shrink;
  return {y, x, (w.y + w.height + shrink - 1) / shrink - y,
          (w.x + w.width + shrink - 1) / shrink - x};
}

/// The window as the decoder can cut it: columns from the edge of a block on, and some more on each
/// side, because colour is interpolated from neighbours.
bool start(Decoder& d, Window& at, int shrink) {
  if (setjmp(d.errors.back)) return false;
  jpeg_decompress_struct& jpeg = d.jpeg;
  jpeg.scale_num = 1, jpeg.scale_denom = static_cast<unsigned>(shrink);
  jpeg.out_color_space = jpeg.num_components == 4 ? JCS_CMYK : JCS_RGB;
  jpeg.dct_method = JDCT_ISLOW;
  jpeg_start_decompress(&jpeg);
  constexpr int64_t kMargin = 2;
  const int64_t width = jpeg.output_width, height = jpeg.output_height;
  const int64_t left = at.x > kMargin ? at.x - kMargin : 0;
  const int64_t right = at.x + at.width + kMargin < width ? at.x + at.width + kMargin : width;
  auto offset = static_cast<JDIMENSION>(left), columns = static_cast<JDIMENSION>(right - left);
  if (left > 0 || right < width) jpeg_crop_scanline(&jpeg, &offset, &columns);
  at.height = at.y + at.height < height ? at.height : height - at.y;
  at.x = offset, at.width = columns;
  return true;
}

/// RGB as the JPEG standard's CMYK is stored by Adobe and everyone after: inverted.
void cmyk_to_rgb(const uint8_t* cmyk, int64_t n, uint8_t* rgb) {
  for (int64_t i = 0; i < n; ++i, cmyk += 4, rgb += 3) {
    for (int c = 0; c < 3; ++c) {
      const int product = cmyk[c] * cmyk[3] + 128;
      rgb[c] = static_cast<uint8_t>((product + (product >> 8)) >> 8);  // / 255, rounded
    }
  }
}

bool read_rows(Decoder& d, const Window& at, Bitmap& image, std::vector<uint8_t>& row) {
  if (setjmp(d.errors.back)) return false;
  jpeg_skip_scanlines(&d.jpeg, static_cast<JDIMENSION>(at.y));
  for (int64_t i = 0; i < at.height; ++i) {
    uint8_t* to = row.empty() ? image.row(i) : row.data();
    jpeg_read_scanlines(&d.jpeg, &to, 1);
    if (!row.empty()) cmyk_to_rgb(row.data(), at.width, image.row(i));
  }
  jpeg_abort_decompress(&d.jpeg);
  return true;
}

struct Encoder {
  jpeg_compress_struct jpeg{};
  Errors errors;
  unsigned char* bytes = nullptr;
  unsigned long size = 0;

  Encoder() {
    set_up(errors);
    jpeg.err = &errors.base;
  }
  ~Encoder() {
    jpeg_destroy_compress(&jpeg);
    std::free(bytes);
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
};

bool write(Encoder& e, const Bitmap& image, int quality) {
  if (setjmp(e.errors.back)) return false;
  jpeg_create_compress(&e.jpeg);
  jpeg_mem_dest(&e.jpeg, &e.bytes, &e.size);
  e.jpeg.image_height = static_cast<JDIMENSION>(image.height);
  e.jpeg.image_width = static_cast<JDIMENSION>(image.width);
  e.jpeg.input_components = 3, e.jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&e.jpeg);
  jpeg_set_quality(&e.jpeg, quality, TRUE);
  jpeg_start_compress(&e.jpeg, TRUE);
  for (int64_t i = 0; i < image.height; ++i) {
    auto* row = const_cast<uint8_t*>(image.row(i));
    jpeg_write_scanlines(&e.jpeg, &row, 1);
  }
  jpeg_finish_compress(&e.jpeg);
  return true;
}

}  // namespace

#define PARE_TEXT(x) #x
#define PARE_TEXT_OF(x) PARE_TEXT(x)
std::string version() { return PARE_TEXT_OF(LIBJPEG_TURBO_VERSION); }

Extent extent(ByteSpan file) {
  Decoder d;
  PARE_CHECK(read_header(d, file), "damaged header: ", d.errors.text);
  return {d.jpeg.image_height, d.jpeg.image_width};
}

Piece decode(ByteSpan file, const Window& window, int shrink) {
  Decoder d;
  Piece piece{{}, shrunk(window, shrink)};
  PARE_CHECK(read_header(d, file) && start(d, piece.at, shrink), "damaged: ", d.errors.text);
  piece.bitmap = Bitmap(piece.at.height, piece.at.width);
  const bool cmyk = d.jpeg.num_components == 4;
  std::vector<uint8_t> row(static_cast<size_t>(cmyk ? 4 * piece.at.width : 0));
  PARE_CHECK(read_rows(d, piece.at, piece.bitmap, row), "damaged: ", d.errors.text);
  return piece;
}

std::vector<uint8_t> encode_jpeg(const Bitmap& image, int quality) {
  Encoder e;
  PARE_CHECK(write(e, image, quality), "cannot write JPEG: ", e.errors.text);
  return {e.bytes, e.bytes + e.size};
}

}  // namespace pare::datasets::turbo

#else

namespace pare::datasets::turbo {

std::string version() { return {}; }
Extent extent(ByteSpan) { throw Error("this build has no libjpeg-turbo", "turbo"); }
Piece decode(ByteSpan, const Window&, int) {
  throw Error("this build has no libjpeg-turbo", "turbo");
}
std::vector<uint8_t> encode_jpeg(const Bitmap&, int) {
  throw Error("this build has no libjpeg-turbo", "turbo");
}

}  // namespace pare::datasets::turbo

#endif
