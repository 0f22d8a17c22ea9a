#pragma once
// Few values that many weights share.  Han et al. 2016 (deep compression), arXiv:1510.00149,
// section 3: k-means from centroids that are spread evenly over the range, which keeps the few
// large weights.

#include <cstdint>
#include <span>
#include <vector>

namespace pare::prune {

struct Codebook {
  std::vector<float> centroids;  // ascending
  std::vector<uint32_t> codes;   // by value: its centroid
};

/// At most 2^bits centroids; as many as there are different values, if these are fewer.
Codebook share_values(std::span<const float> values, int bits);

}  // namespace pare::prune
