#include "deploy/runtime/normalize.h"

#include <algorithm>
#include <cmath>

namespace pare::runtime {

void normalize(const Program& program, const uint8_t* images, int64_t count, float* y) {
  const Buffer& in = program.buffers[static_cast<size_t>(program.input)];
  const auto channels = static_cast<size_t>(in.c);
  std::vector<float> table(256 * channels);
  for (size_t c = 0; c < channels; ++c) {
    const float mean = program.mean.empty() ? 0.0f : program.mean[c];
    const float std = program.std.empty() ? 1.0f : program.std[c];
    for (size_t v = 0; v < 256; ++v) {
      table[v * channels + c] = (static_cast<float>(v) / 255.0f - mean) / std;
    }
  }
  for (int64_t i = 0; i < count * in.numel(); ++i) {
    y[i] = table[images[i] * channels + static_cast<size_t>(i) % channels];
  }
}

void softmax(float* y, int64_t n) {
  const float largest = *std::max_element(y, y + n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(double{y[i]} - largest);
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>(std::exp(double{y[i]} - largest) / sum);
  }
}

}  // namespace pare::runtime
