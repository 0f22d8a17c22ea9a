#include "quant/rows.h"

#include <algorithm>

namespace pare::quant {

std::vector<float> row_scales(const Rows& rows, const Tensor& y) {
  std::vector<float> scales;
  for (int64_t k = 0; k < rows.count; ++k) {
    const float* row = y.data() + k * rows.length;
    float largest = 0;
    for (int64_t i = 0; i < rows.length; ++i) largest = std::max(largest, std::fabs(row[i]));
    scales.push_back(largest);
  }
  return scales;
}

}  // namespace pare::quant
