// Photographs from files: decoded, cut and resized when they are asked for.

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>

#include "core/error.h"
#include "core/files.h"
#include "datasets/augment.h"
#include "datasets/color.h"
#include "datasets/photo.h"
#include "datasets/photo_files.h"
#include "datasets/resize.h"
#include "datasets/sources.h"

namespace pare::datasets {

namespace {

/// A window of area .. 1 of the image, width / height from 3/4 to 4/3, log-uniform; after ten
/// windows that do not fit, the largest in the middle that is no wider or higher than that.
Window random_window(int64_t height, int64_t width, float least_area, Rng& rng) {
  constexpr int kAttempts = 10;
  const double wide = std::log(4.0 / 3.0);
  const auto area = static_cast<double>(height * width);
  for (int i = 0; i < kAttempts; ++i) {
    const double share = static_cast<double>(rng.uniform(least_area, 1));
    const double ratio = std::exp(wide * (2 * static_cast<double>(rng.uniform()) - 1));
    const int64_t w = std::llround(std::sqrt(share * area * ratio));
    const int64_t h = std::llround(std::sqrt(share * area / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    return {rng.below(height - h + 1), rng.below(width - w + 1), h, w};
  }
  const auto limit = [](int64_t side) {
    return std::max<int64_t>(1, std::llround(static_cast<double>(side) * 4 / 3));
  };
  const int64_t h = std::min(height, limit(width)), w = std::min(width, limit(height));
  return {(height - h) / 2, (width - w) / 2, h, w};
}

/// Where the middle `size` x `size` of the picture lies once its shorter side became `resize`.
Box center_box(int64_t height, int64_t width, int64_t size, int64_t resize) {
  const int64_t shorter = std::min(height, width);
  const auto along = [&](int64_t side) {
    const int64_t resized = side * resize / shorter;
    const int64_t from = (resized - size + 1) / 2;
    const double ratio = static_cast<double>(side) / static_cast<double>(resized);
    return std::pair(static_cast<double>(from) * ratio, static_cast<double>(size) * ratio);
  };
  const auto [y, h] = along(height);
  const auto [x, w] = along(width);
  return {y, x, h, w};
}

Box box_of(const Window& w) {
  return {static_cast<double>(w.y), static_cast<double>(w.x), static_cast<double>(w.height),
          static_cast<double>(w.width)};
}

/// The pixels around a box that a filter can reach, as far as there are any.
Window around(const Box& box, int64_t height, int64_t width, int64_t size) {
  constexpr double kTaps = 3;  // on each side: two, and one for rounding
  const auto along = [&](double from, double length, int64_t side) {
    const double reach = kTaps * std::max(1.0, length / static_cast<double>(size));
    const auto first = std::max<int64_t>(0, static_cast<int64_t>(from - reach));
    return std::pair(first, std::min(side, static_cast<int64_t>(from + length + reach)) - first);
  };
  const auto [y, h] = along(box.y, box.height, height);
  const auto [x, w] = along(box.x, box.width, width);
  return {y, x, h, w};
}

/// Shrinking while decoding replaces the filter by a mean over blocks: to no less than twice the
/// size.
Bitmap center_view(const Photo& photo, const PhotoOptions& o) {
  const int64_t size = o.size, height = photo.height(), width = photo.width();
  const Box box = center_box(height, width, size, o.resize);
  const double room = std::min(box.height, box.width) / static_cast<double>(size);
  const Photo::Part part = photo.decode(around(box, height, width, size), room / 2);
  return resize(part.bitmap, part.find(box), {size, size, o.filter, Reach::bitmap});
}

/// Random windows may shrink to their size.
Bitmap random_view(const Photo& photo, const PhotoOptions& o, float least_area, Rng& rng) {
  const Window window = random_window(photo.height(), photo.width(), least_area, rng);
  const Box box = box_of(window);
  const double room = std::min(box.height, box.width) / static_cast<double>(o.size);
  const Photo::Part part = photo.decode(window, room);
  return resize(part.bitmap, part.find(box), {o.size, o.size, o.filter, Reach::box});
}

PhotoOptions checked(PhotoOptions p) {
  PARE_CHECK(p.size > 0, "imagenet: images must have a size > 0, got ", p.size);
  PARE_CHECK(p.resize == 0 || p.resize >= p.size, "imagenet: the shorter side becomes ", p.resize,
             " before the middle ", p.size, " pixels are cut out, expected at least as many");
  if (p.resize == 0) p.resize = p.size * 8 / 7;
  return p;
}

class PhotoSet final : public ImageSet {
 public:
  PhotoSet(std::unique_ptr<PhotoFiles> files, std::vector<int64_t> chosen,
           const PhotoOptions& options)
      : files_(std::move(files)), chosen_(std::move(chosen)), opt_(options) {
    image = {opt_.size, opt_.size, 3};
    class_names = files_->class_names;
    for (int64_t at : chosen_) labels.push_back(files_->labels[static_cast<size_t>(at)]);
  }

  bool slow() const override { return true; }

  void check(const Augment& augment) const override {
    PARE_CHECK(augment.crop_pad == 0, "loader: crop_pad is for images in memory, got ",
               augment.crop_pad, hint("crop_area cuts windows out of photographs"));
  }

  bool draw(int64_t index, const Augment& augment, const LookupTable& table, Rng& rng,
            float* y) const override {
    const int64_t at = chosen_[static_cast<size_t>(index)];
    try {
      const std::vector<uint8_t> file = files_->read(at);
      const Photo photo(file);
      Bitmap seen = augment.crop_area > 0 ? random_view(photo, opt_, augment.crop_area, rng)
                                          : center_view(photo, opt_);
      change_colors(seen, augment, rng);
      place(seen.pixels.data(), image, {.flip = augment.flip && rng.coin()}, table, y);
      return true;
    } catch (const Error& e) {
      const std::lock_guard lock(mutex_);
      broken_.emplace(at, e.what());
      return false;
    }
  }

  std::vector<Unreadable> unreadable() const override {
    std::vector<Unreadable> all = files_->ignored;
    const std::lock_guard lock(mutex_);
    for (const auto& [at, reason] : broken_) all.push_back({files_->name(at), reason});
    return all;
  }

 private:
  std::unique_ptr<PhotoFiles> files_;
  std::vector<int64_t> chosen_;  // files
  PhotoOptions opt_;
  mutable std::mutex mutex_;
  mutable std::map<int64_t, std::string> broken_;  // by file
};

}  // namespace

std::shared_ptr<const ImageSet> load_photos(const LoadOptions& options) {
  const PhotoOptions photos = checked(options.photos);
  auto files = find_photos(options.dir, options.split);
  const int64_t count = files->count();
  const int64_t taken = options.limit > 0 ? std::min(options.limit, count) : count;
  std::vector<int64_t> chosen(static_cast<size_t>(taken));
  for (int64_t i = 0; i < taken; ++i) chosen[static_cast<size_t>(i)] = i * count / taken;
  return std::make_shared<const PhotoSet>(std::move(files), std::move(chosen), photos);
}

std::vector<uint8_t> read_photo(const std::string& path, const PhotoOptions& options) {
  const std::string bytes = read_file(path);
  const std::vector<uint8_t> file(bytes.begin(), bytes.end());
  return center_view(Photo(file), checked(options)).pixels;
}

}  // namespace pare::datasets
