#include "datasets/photo.h"

#include "datasets/color.h"
#include "datasets/resize.h"
#include "tests/datasets/pictures_for_test.h"
#include "tests/datasets/pil_vectors.h"

using namespace pare;
using namespace pare::test;
using datasets::Box;
using datasets::Filter;
using datasets::Photo;
using datasets::Reach;
using datasets::Window;

namespace {

Box whole(const Bitmap& x) {
  return {0, 0, static_cast<double>(x.height), static_cast<double>(x.width)};
}

Bitmap cut(const Bitmap& x, const Window& w) {
  Bitmap y(w.height, w.width);
  for (int64_t i = 0; i < w.height; ++i) {
    std::copy_n(x.row(w.y + i) + 3 * w.x, 3 * w.width, y.row(i));
  }
  return y;
}

Bytes pixels_of(const Bytes& file) { return Photo(file).decode().pixels; }

std::string refusal(const Bytes& file) {
  return message_of([&] { Photo(file).decode(); });
}

template <class F>
Bytes changed(Bitmap x, F&& f) {
  f(x);
  return x.pixels;
}

/// Where EXIF 2.3 says the stored pixel (i, j) of an h x w picture is seen.
std::pair<int64_t, int64_t> seen_at(int orientation, int64_t i, int64_t j, int64_t h, int64_t w) {
  switch (orientation) {
    case 2:
      return {i, w - 1 - j};
    case 3:
      return {h - 1 - i, w - 1 - j};
    case 4:
      return {h - 1 - i, j};
    case 5:
      return {j, i};
    case 6:
      return {j, h - 1 - i};
    case 7:
      return {w - 1 - j, h - 1 - i};
    case 8:
      return {w - 1 - j, i};
    default:
      return {i, j};
  }
}

}  // namespace

TEST_CASE("resize: PIL's pixels") {
  const Bitmap x = pattern(23, 37);
  const auto gap = [](const Bitmap& got, const Bytes& want) {
    return difference(got.pixels, want).largest;
  };
  // Both round to bytes between the directions; PIL sums in integers, we in floats.
  CHECK(gap(resize(x, whole(x), {5, 6}), pil::kBilinear) <= 1);
  CHECK(gap(resize(x, whole(x), {5, 6, Filter::bicubic}), pil::kBicubic) <= 1);
  CHECK(gap(resize(x, {2, 3, 19, 28}, {4, 7}), pil::kCropped) <= 1);
  CHECK(gap(resize(x, {5, 8, 3, 4}, {5, 7, Filter::bicubic}), pil::kEnlarged) <= 1);
  CHECK(resize(x, whole(x), {23, 37}).pixels == x.pixels);
}

TEST_CASE("resize: a box cuts first, unless it may look around") {
  const Bitmap x = pattern(23, 37);
  const Window w{4, 9, 11, 13};
  const Box box{4, 9, 11, 13};
  const Bitmap small = cut(x, w);
  for (Filter filter : {Filter::bilinear, Filter::bicubic}) {
    const Bitmap want = resize(small, whole(small), {5, 6, filter});
    CHECK(resize(x, box, {5, 6, filter}).pixels == want.pixels);
    CHECK(resize(x, box, {5, 6, filter, Reach::bitmap}).pixels != want.pixels);
  }
  check_mentions(message_of([&] { resize(x, {0, 40, 2, 2}, {5, 6}); }), {"2x2", "0, 40", "23x37"});
}

TEST_CASE("colours: PIL's pixels") {
  const Bitmap x = pattern(5, 4);
  Bitmap dull = x;
  for (uint8_t& v : dull.pixels) v = static_cast<uint8_t>(v / 2 + 40);
  using namespace datasets;
  CHECK(changed(x, [](Bitmap& b) { adjust_brightness(b, 1.3f); }) == pil::kBrightness);
  CHECK(changed(x, [](Bitmap& b) { adjust_contrast(b, 0.6f); }) == pil::kContrast);
  CHECK(changed(x, [](Bitmap& b) { adjust_color(b, 1.7f); }) == pil::kColor);
  CHECK(changed(dull, autocontrast) == pil::kAutocontrast);
  CHECK(changed(x, [](Bitmap& b) { posterize(b, 3); }) == pil::kPosterize);
  CHECK(changed(x, [](Bitmap& b) { solarize(b, 100); }) == pil::kSolarize);
  Bitmap flat = pattern(23, 37);
  equalize(flat);
  Bytes some;
  for (int64_t i = 0; i < 23; i += 7) {
    for (int64_t j = 0; j < 37; j += 9) {
      some.insert(some.end(), flat.row(i) + 3 * j, flat.row(i) + 3 * j + 3);
    }
  }
  CHECK(some == pil::kEqualized);
}

TEST_CASE("colours: nothing changes where nothing is to be changed") {
  const Bitmap x = pattern(9, 8), one(4, 4);
  using namespace datasets;
  CHECK(changed(x, [](Bitmap& b) { adjust_brightness(b, 1); }) == x.pixels);
  CHECK(changed(x, [](Bitmap& b) { adjust_contrast(b, 1); }) == x.pixels);
  CHECK(changed(x, [](Bitmap& b) { adjust_color(b, 1); }) == x.pixels);
  CHECK(changed(x, [](Bitmap& b) { posterize(b, 8); }) == x.pixels);
  CHECK(changed(x, [](Bitmap& b) { warp(b, {}); }) == x.pixels);
  CHECK(changed(one, autocontrast) == one.pixels);
  CHECK(changed(one, equalize) == one.pixels);
}

TEST_CASE("warp: moves and quarter turns") {
  const Bitmap x = pattern(6, 6);
  const Bytes moved = changed(x, [](Bitmap& b) { warp(b, {.dy = 1, .dx = -2}); });
  const Bytes turned = changed(x, [](Bitmap& b) { warp(b, {.a = 0, .b = 1, .c = -1, .d = 0}); });
  for (int64_t i = 0; i < 6; ++i) {
    for (int64_t j = 0; j < 6; ++j) {
      const auto at = static_cast<size_t>(3 * (6 * i + j));
      const bool inside = i >= 1 && j < 4;
      CHECK(int{moved[at]} == (inside ? int{x.row(i - 1)[3 * (j + 2)]} : 128));
      CHECK(turned[at] == x.row(j)[3 * (5 - i)]);
    }
  }
}

TEST_CASE("photo: PNG in grey, colour, with alpha, with 16 bits") {
  const Bitmap x = pattern(4, 5);
  CHECK(pixels_of(png_of(x)) == x.pixels);
  Bytes wide, alpha, grey, grey16;
  for (size_t i = 0; i < x.pixels.size(); ++i) {
    wide.insert(wide.end(), {x.pixels[i], static_cast<uint8_t>(i * 7)});
    alpha.push_back(x.pixels[i]);
    if (i % 3 == 2) alpha.push_back(9);
  }
  for (uint8_t v = 0; v < 20; ++v) {
    grey.push_back(static_cast<uint8_t>(11 * v));
    grey16.insert(grey16.end(), {static_cast<uint8_t>(11 * v), 200});
  }
  CHECK(pixels_of(png_of({4, 5, 2, 16}, wide)) == x.pixels);
  CHECK(pixels_of(png_of({4, 5, 6, 8}, alpha)) == x.pixels);
  for (const Bytes& got :
       {pixels_of(png_of({4, 5, 0, 8}, grey)), pixels_of(png_of({4, 5, 0, 16}, grey16))}) {
    for (size_t i = 0; i < 60; ++i) CHECK(got[i] == grey[i / 3]);
  }
}

TEST_CASE("photo: JPEG in grey, CMYK, progressive") {
  const Bytes grey = pixels_of(pil::kGreyJpeg), cmyk = pixels_of(pil::kCmykJpeg);
  const Bytes progressive = pixels_of(pil::kProgressiveJpeg);
  REQUIRE(grey.size() == 3 * 64);
  REQUIRE(cmyk.size() == 3 * 64);
  REQUIRE(progressive.size() == 3 * 256);
  for (size_t i = 0; i < grey.size(); ++i) {
    CHECK(std::abs(int{grey[i]} - 30 * static_cast<int>(i / 3 % 8)) <= 3);
  }
  const int want_cmyk[] = {172, 103, 42}, want[] = {201, 40, 90};  // what PIL reads
  for (size_t i = 0; i < cmyk.size(); ++i) CHECK(std::abs(cmyk[i] - want_cmyk[i % 3]) <= 1);
  for (size_t i = 0; i < progressive.size(); ++i) {
    CHECK(std::abs(progressive[i] - want[i % 3]) <= 2);
  }
}

TEST_CASE("photo: EXIF turns pictures upright") {
  const Bitmap x = pattern(4, 6);
  for (int orientation = 1; orientation <= 8; ++orientation) {
    CAPTURE(orientation);
    const Bytes file = png_of(x, orientation);
    const Photo photo(file);
    const bool turned = orientation > 4;
    REQUIRE(photo.height() == (turned ? 6 : 4));
    REQUIRE(photo.width() == (turned ? 4 : 6));
    const Bitmap y = photo.decode();
    for (int64_t i = 0; i < 4; ++i) {
      for (int64_t j = 0; j < 6; ++j) {
        const auto at = seen_at(orientation, i, j, 4, 6);
        CHECK(std::equal(x.row(i) + 3 * j, x.row(i) + 3 * j + 3, y.row(at.first) + 3 * at.second));
      }
    }
  }
  const Bytes jpeg = jpeg_of(scenery(40, 60));
  for (bool little : {false, true}) {
    const Bytes file = turned_jpeg(jpeg, 6, little);
    const Bitmap upright = Photo(jpeg).decode(), turned = Photo(file).decode();
    CHECK(turned.height == 60);
    CHECK(std::equal(turned.row(0), turned.row(0) + 3, upright.row(39)));
    CHECK(std::equal(turned.row(59), turned.row(59) + 3, upright.row(39) + 3 * 59));
  }
}

TEST_CASE("photo: what is no picture, or not all of one, is refused with a reason") {
  const Bytes jpeg = jpeg_of(scenery(64, 64)), png = png_of(pattern(20, 20));
  CHECK(refusal({}) == "empty file");
  CHECK(refusal({'h', 'e', 'l', 'l', 'o'}) == "neither JPEG nor PNG");
  for (size_t size : {3u, 20u, 200u, 700u}) {
    CAPTURE(size);
    const Bytes head(jpeg.begin(), jpeg.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK(contains(refusal(head), size < 700 ? "JPEG without pixels" : "cut off"));
  }
  const Bytes most(jpeg.begin(), jpeg.end() - 2);
  CHECK(refusal(most) == "JPEG that is cut off");
  Bytes gap(jpeg.begin(), jpeg.begin() + static_cast<std::ptrdiff_t>(jpeg.size() * 3 / 4));
  gap.insert(gap.end(), {0xFF, 0xD9});  // ends early, as if it were meant to
  // stb_image takes what is missing for zeros.
  if (datasets::jpeg_decoder() != "stb_image") CHECK(contains(refusal(gap), "damaged"));
  Bytes codes = jpeg;  // a Huffman table of 16 times 255 codes
  const Bytes marker = {0xFF, 0xC4};
  const auto table = std::search(codes.begin(), codes.end(), marker.begin(), marker.end());
  REQUIRE(table != codes.end());
  std::fill_n(table + 5, 16, uint8_t{255});
  CHECK_FALSE(refusal(codes).empty());
  CHECK(contains(message_of([&] { datasets::stb::decode(codes); }), "bad Huffman table"));
  for (size_t size : {9u, 30u, 100u}) {
    CHECK_FALSE(
        refusal(Bytes(png.begin(), png.begin() + static_cast<std::ptrdiff_t>(size))).empty());
  }
  Bytes huge = png;  // claims 2^31 - 1 pixels in each direction
  for (size_t i = 16; i < 24; ++i) huge[i] = i % 4 == 0 ? 0x7F : 0xFF;
  CHECK_FALSE(refusal(huge).empty());
}

TEST_CASE("photo: damaged bytes are decoded or refused, never more") {
  const Bytes files[] = {jpeg_of(scenery(48, 56)), png_of(pattern(12, 15)), pil::kCmykJpeg,
                         pil::kProgressiveJpeg, turned_jpeg(jpeg_of(scenery(24, 40)), 6, true)};
  Rng rng(3);
  int refused = 0;
  for (const Bytes& file : files) {
    for (int round = 0; round < 150; ++round) {
      Bytes bad = file;
      for (int64_t hits = 1 + rng.below(4); hits > 0; --hits) {
        bad[static_cast<size_t>(rng.below(static_cast<int64_t>(bad.size())))] =
            static_cast<uint8_t>(rng.below(256));
      }
      if (rng.coin(0.2f))
        bad.resize(static_cast<size_t>(rng.below(static_cast<int64_t>(bad.size()))));
      refused += !refusal(bad).empty();
    }
  }
  CHECK(refused > 100);
}

TEST_CASE("photo: the decoders agree") {
  for (const Bytes& file : {jpeg_of(scenery(120, 161)), jpeg_of(pattern(33, 50), 95)}) {
    // Their inverse transforms and colour conversions round differently.
    const Difference gap = difference(pixels_of(file), datasets::stb::decode(file).pixels);
    CHECK(gap.largest <= 6);
    CHECK(gap.mean < 1);
  }
}

TEST_CASE("photo: a part is a part of the whole") {
  for (const Bytes& file : {jpeg_of(scenery(120, 161)), jpeg_of(pattern(70, 50), 95)}) {
    const Photo photo(file);
    const Bitmap all = photo.decode();
    for (const Window& w : {Window{0, 0, 8, 9}, Window{17, 21, 40, 20}, Window{31, 3, 39, 47},
                            Window{0, 0, photo.height(), photo.width()}}) {
      const Photo::Part part = photo.decode(w);
      const Box box = part.find({static_cast<double>(w.y), static_cast<double>(w.x),
                                 static_cast<double>(w.height), static_cast<double>(w.width)});
      const Window inside{static_cast<int64_t>(box.y), static_cast<int64_t>(box.x), w.height,
                          w.width};
      CHECK(cut(part.bitmap, inside).pixels == cut(all, w).pixels);
    }
  }
}

TEST_CASE("photo: shrinking while decoding is nearly the same picture") {
  const Bytes file = jpeg_of(scenery(375, 500));
  const Photo photo(file);
  const Bitmap all = photo.decode();
  const Window w{30, 41, 301, 402};
  const Box box{30, 41, 301, 402};
  for (int64_t size : {128, 64, 32}) {
    const Bitmap want = resize(all, box, {size, size});
    const Photo::Part part = photo.decode(w, 301.0 / static_cast<double>(size));
    const Difference gap =
        difference(resize(part.bitmap, part.find(box), {size, size}).pixels, want.pixels);
    CAPTURE(size);
    CAPTURE(part.shrink);
    CHECK(gap.mean < 1);
    CHECK(gap.largest <= 8);
  }
}

TEST_CASE("photo: photographs, whole, in part and shrunk") {
  const std::string dir = real_data("imagenet-samples");
  if (dir.empty()) return;
  int64_t photos = 0;
  double decoders = 0, shrunk = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    if (entry.path().extension() != ".JPEG" || photos == 24) continue;
    CAPTURE(entry.path().string());
    std::ifstream in(entry.path(), std::ios::binary);
    const Bytes file{std::istreambuf_iterator<char>(in), {}};
    const Photo photo(file);
    const Bitmap all = photo.decode();
    const Difference gap = difference(all.pixels, datasets::stb::decode(file).pixels);
    CHECK(gap.mean < 1.5);
    decoders += gap.mean;
    const int64_t h = photo.height() / 2, w = photo.width() / 2;
    const Window middle{h / 2, w / 2, h, w};
    const Box box{static_cast<double>(h / 2), static_cast<double>(w / 2), static_cast<double>(h),
                  static_cast<double>(w)};
    const Photo::Part part = photo.decode(middle);
    CHECK(resize(part.bitmap, part.find(box), {50, 50}).pixels ==
          resize(all, box, {50, 50}).pixels);
    const Photo::Part small = photo.decode(middle, static_cast<double>(std::min(h, w)) / 64);
    shrunk += difference(resize(small.bitmap, small.find(box), {64, 64}).pixels,
                         resize(all, box, {64, 64}).pixels)
                  .mean;
    ++photos;
  }
  REQUIRE(photos > 0);
  MESSAGE("mean difference of the decoders ", decoders / static_cast<double>(photos),
          ", of shrinking while decoding ", shrunk / static_cast<double>(photos));
  CHECK(shrunk / static_cast<double>(photos) < 3);
}
