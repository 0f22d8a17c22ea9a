#include "apps/augment_args.h"

#include <fmt/format.h>

namespace pare {

void AugmentArgs::fields(cli::Fields& f) {
  f.group("Augmentation");
  f(on, "augment",
    "random crop (padded by 4; a window of photographs) and flip; on for CIFAR and photographs if "
    "not said otherwise");
  f(off, "no-augment", "train on the images as they are");
  f(crop_area, "crop-area", "photographs: smallest window, as a share of the area",
    {.min = 0, .max = 1, .above_min = true});
  f(jitter, "jitter", "brightness, contrast and colour times 1 - J .. 1 + J; 0: off",
    {.min = 0, .max = 1});
  f(rand_ops, "rand-augment", "RandAugment: so many random operations on each image; 0: off",
    {.min = 0, .max = 10});
  f(rand_magnitude, "rand-magnitude", "of these operations", {.min = 0, .max = 30});
  f(mixup, "mixup", "blend pairs of images and labels, by a share from Beta(A, A); 0: off",
    {.min = 0});
  f(cutmix, "cutmix", "paste rectangles of one image into another, likewise; with --mixup either",
    {.min = 0});
}

void AugmentArgs::check(const cli::Given& given, const std::string& dataset) const {
  PARE_CHECK(!(on && off), "--augment and --no-augment exclude each other");
  for (const char* flag : {"crop-area", "jitter", "rand-augment", "mixup", "cutmix"}) {
    PARE_CHECK(!off || !given.has(flag), "--", flag, " and --no-augment exclude each other");
  }
  PARE_CHECK(!given.has("crop-area") || datasets::has_photos(dataset),
             "--crop-area is for photographs, got --dataset ", dataset);
  PARE_CHECK(!given.has("rand-magnitude") || rand_ops > 0,
             "--rand-magnitude is for --rand-augment, which is not given");
}

bool AugmentArgs::crops(const std::string& dataset) const {
  const bool usual = dataset == "cifar10" || dataset == "cifar100" || datasets::has_photos(dataset);
  return on || (usual && !off);
}

datasets::Augment AugmentArgs::options(const std::string& dataset, int64_t channels) const {
  const bool crop = crops(dataset), photos = datasets::has_photos(dataset);
  return {.crop_pad = crop && !photos ? 4 : 0,
          .flip = crop && channels > 1,  // a mirrored digit or shoe is another one
          .crop_area = crop && photos ? crop_area : 0,
          .jitter = jitter,
          .rand_ops = static_cast<int>(rand_ops),
          .rand_magnitude = static_cast<int>(rand_magnitude),
          .mixup = mixup,
          .cutmix = cutmix};
}

std::string AugmentArgs::describe(const std::string& dataset, int64_t channels) const {
  const datasets::Augment a = options(dataset, channels);
  std::string text;
  if (a.crop_pad > 0) text += a.flip ? ", random crop and flip" : ", random crop";
  if (a.crop_area > 0)
    text += fmt::format(", random windows from {:g} % on and flip", 100 * a.crop_area);
  if (a.rand_ops > 0) {
    text += fmt::format(", {} random operations of magnitude {}", a.rand_ops, a.rand_magnitude);
  }
  if (a.jitter > 0) text += fmt::format(", jitter {:g}", a.jitter);
  if (a.mixup > 0) text += fmt::format(", mixup {:g}", a.mixup);
  if (a.cutmix > 0) text += fmt::format("{} cutmix {:g}", a.mixup > 0 ? " or" : ",", a.cutmix);
  return text;
}

}  // namespace pare
