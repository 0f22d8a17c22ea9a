// Images that lie in memory.

#include <utility>

#include "core/error.h"
#include "datasets/augment.h"
#include "datasets/color.h"

namespace pare::datasets {

PixelSet::PixelSet(const Shape& size, std::vector<std::string> classes) {
  image = size;
  class_names = std::move(classes);
}

void PixelSet::check(const Augment& augment) const {
  PARE_CHECK(image.dims() == 3 && (image[2] == 1 || image[2] == 3), "loader: images are ", image,
             ", expected [H, W, 1] or [H, W, 3]");
  PARE_CHECK(static_cast<int64_t>(pixels.size()) == count() * image.numel(), "loader: got ",
             pixels.size(), " pixel values, expected ", count(), " images of ", image);
  PARE_CHECK(augment.crop_pad >= 0, "loader: crop_pad must be >= 0, got ", augment.crop_pad);
  PARE_CHECK(augment.crop_area == 0, "loader: crop_area is for photographs, got ",
             augment.crop_area, hint("crop_pad is for images of one size"));
  PARE_CHECK(image[2] == 3 || !changes_colors(augment),
             "loader: jitter and rand_ops need three channels, the images are ", image);
}

bool PixelSet::draw(int64_t index, const Augment& augment, const LookupTable& table, Rng& rng,
                    float* y) const {
  const uint8_t* x = pixels.data() + index * image.numel();
  const View view = random_view(augment.crop_pad, augment.flip, rng);
  if (!changes_colors(augment)) {
    place(x, image, view, table, y);
    return true;
  }
  Bitmap seen(image[0], image[1]);
  place(x, image, view, seen.pixels.data());
  change_colors(seen, augment, rng);
  look_up(seen.pixels.data(), image, table, y);
  return true;
}

}  // namespace pare::datasets
