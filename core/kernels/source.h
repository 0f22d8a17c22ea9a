#pragma once
// Where a pass that copies its input finds the values: in memory, or computed from what is in
// memory on the way, so that a normalized activation never has to be written and read again.

#include <cstdint>
#include <cstring>

#include "core/kernels/normalize.h"
#include "core/kernels/permute.h"
#include "core/scratch.h"

namespace pare::kernels {

struct Source {
  const float* x = nullptr;      // [pixels, channels]
  const float* scale = nullptr;  // null: f of x itself
  const float* shift = nullptr;  // else f of scale[c] x + shift[c]
  Pointwise f = {};
  const FakeQuant* quant = nullptr;  // quantized, if it is there
  const Shuffle* shuffle = nullptr;  // channels in another order, in the end

  bool stored() const { return as_it_lies() && shuffle == nullptr; }

  /// Pixels [pixel, pixel + count) into `to`.
  void load(int64_t pixel, int64_t count, int64_t channels, float* to) const noexcept {
    const float* from = x + pixel * channels;
    if (shuffle == nullptr) return compute(from, count, channels, to);
    Scratch scratch;
    if (!as_it_lies()) {
      float* computed = scratch.floats(count * channels);
      compute(from, count, channels, computed);
      from = computed;
    }
    shuffle_columns(*shuffle, from, to, count);
  }

 private:
  bool as_it_lies() const {
    return scale == nullptr && quant == nullptr && f.kind == Pointwise::Kind::identity;
  }
  void compute(const float* from, int64_t count, int64_t channels, float* to) const noexcept {
    if (as_it_lies()) {
      std::memcpy(to, from, static_cast<size_t>(count * channels) * sizeof(float));
    } else if (scale) {
      normalize({from, nullptr, scale, shift}, {f, quant}, count, channels, to);
    } else if (quant) {
      fake_quant(*quant, from, to, count * channels);
    } else {
      pointwise(f, from, to, count * channels);
    }
  }
};

}  // namespace pare::kernels
