#pragma once
// What the loss says about channels. For image n and unit u
//   g[n, u] = sum over the layers that read u, and over positions, of  x dL/dx
// where L is the loss of image n alone: minus its first-order change if u became zero.

#include <vector>

#include "prune/cost.h"
#include "prune/criterion.h"

namespace pare::prune {

struct Saliency {
  std::vector<double> magnitude;  // by unit: sum over images of |g|
  std::vector<double> square;     // sum over images of g^2
  std::vector<bool> read;         // some layer reads the unit
  int64_t images = 0;
};

/// Of the subject's images with cross-entropy, in eval mode. The model is copied.
Saliency saliency(const Subject& subject);

/// square, divided by what goes with the unit: macs or activations.
Scores square_per(const Subject& subject, double Cost::*saved);

}  // namespace pare::prune
