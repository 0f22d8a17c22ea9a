#pragma once
// What each layer loses by fewer channels, one layer at a time: a guide for shares of single
// layers.  Li et al. 2017, arXiv:1608.08710, section 3.2

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "prune/criterion.h"

namespace pare::prune {

struct Sensitivity {
  struct Point {
    double share = 0;  // of the channels removed
    int64_t kept = 0;
    double loss = 0, top1 = 0;  // of the model without them; percent
  };
  struct Layer {
    std::string name;  // Structure::names
    int64_t channels = 0;
    std::vector<Point> points = {};  // by ascending share
  };
  std::string method;
  double loss = 0, top1 = 0;  // of the whole model
  int64_t images = 0;
  std::vector<Layer> layers = {};  // those that may lose channels, in the order they run
};
/// The increase of the loss by layer and share.
std::ostream& operator<<(std::ostream& out, const Sensitivity& sensitivity);
/// layer,channels,share,kept,loss,top1: a line for each point.
std::string to_csv(const Sensitivity& sensitivity);

struct SensitivityOptions {
  std::vector<double> shares = {0.1, 0.25, 0.5, 0.75};
  /// Told before each measurement; may be left out.
  std::function<void(int64_t done, int64_t steps, const std::string& layer)> progress = {};
};

/// Silences the channels with the lowest scores and measures cross-entropy on the subject's images.
/// The model stays as it is.
Sensitivity sensitivity(const CriterionInfo& criterion, const Subject& subject,
                        const SensitivityOptions& options = {});

}  // namespace pare::prune
