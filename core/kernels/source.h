#pragma once
// Where a pass that copies its input finds the values: in memory, or computed from what is in
// memory on the way, so that a normalized activation never has to be written and read again.

#include <cstdint>
#include <cstring>

#include "core/kernels/normalize.h"

namespace pare::kernels {

struct Source {
  const float* x = nullptr;      // [pixels, channels]
  const float* scale = nullptr;  // null: the values are x itself
  const float* shift = nullptr;  // else f(scale[c] x + shift[c])
  Pointwise f = {};
  const FakeQuant* quant = nullptr;  // quantized, if it is there

  bool stored() const { return scale == nullptr && quant == nullptr; }

  /// Pixels [pixel, pixel + count) into `to`.
  void load(int64_t pixel, int64_t count, int64_t channels, float* to) const noexcept {
    const float* from = x + pixel * channels;
    if (stored()) {
      std::memcpy(to, from, static_cast<size_t>(count * channels) * sizeof(float));
    } else if (scale == nullptr) {
      fake_quant(*quant, from, to, count * channels);
    } else {
      normalize({from, nullptr, scale, shift}, {f, quant}, count, channels, to);
    }
  }
};

}  // namespace pare::kernels
