#pragma once
// Windows copied side by side: for runs too short to be worth a loop of their own (three-channel
// images, small groups), and for groups whose pixels lie a power of two apart and would push each
// other out of the cache.

#include <cstdint>

namespace pare::kernels {

/// rows x cols pixels, each at base + row * x_row + col * x_col; of each the runs of `run` floats
/// at the given offsets, and then `padding` zeros.
struct Windows {
  int64_t rows, cols, x_row, x_col;
  const int64_t* taps;
  int64_t count, run, padding = 0;

  int64_t length() const { return count * run + padding; }  // floats of one window
};

/// to [rows * cols, length]
void copy_windows(const float* base, const Windows& w, float* to) noexcept;

}  // namespace pare::kernels
