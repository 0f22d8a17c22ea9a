#pragma once
// How photographs of any size become images of one size; kept in checkpoints.

#include <string>

#include "apps/cli.h"
#include "datasets/datasets.h"

namespace pare {

struct PhotoArgs {
  int64_t image_size = 0, eval_resize = 0;
  std::string interpolation = "bilinear";

  void fields(cli::Fields& f) {
    f(image_size, "image-size", "photographs: height and width of the images; 0: 224", {.min = 0});
    f(eval_resize, "eval-resize",
      "photographs: shorter side before a test cuts out the centre; 0: image size * 8 / 7",
      {.min = 0});
    f(interpolation, "interpolation", "photographs: bilinear or bicubic, with antialias",
      {.one_of = {"bilinear", "bicubic"}, .placeholder = "NAME"});
  }

  bool operator==(const PhotoArgs&) const = default;
  datasets::PhotoOptions options() const {
    const bool cubic = interpolation == "bicubic";
    return {.size = image_size > 0 ? image_size : datasets::PhotoOptions().size,
            .resize = eval_resize,
            .filter = cubic ? datasets::Filter::bicubic : datasets::Filter::bilinear};
  }
};

}  // namespace pare
