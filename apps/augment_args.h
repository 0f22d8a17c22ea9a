#pragma once
// What happens to training images at random.

#include <string>

#include "apps/cli.h"
#include "datasets/datasets.h"

namespace pare {

struct AugmentArgs {
  bool on = false, off = false;
  float crop_area = 0.08f, jitter = 0, mixup = 0, cutmix = 0;
  int64_t rand_ops = 0, rand_magnitude = 9;

  void fields(cli::Fields& f);
  /// Combinations that no single flag can check.
  void check(const cli::Given& given, const std::string& dataset) const;

  /// Whether images are cropped and flipped: CIFAR and photographs are if not said otherwise.
  bool crops(const std::string& dataset) const;
  datasets::Augment options(const std::string& dataset, int64_t channels) const;
  /// ", random crop and flip, mixup 0.2"; empty: nothing happens.
  std::string describe(const std::string& dataset, int64_t channels) const;
};

}  // namespace pare
