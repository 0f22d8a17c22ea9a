#pragma once
// Values that are whole multiples of a step, as quantizers make them. A tensor may know that it is
// of this kind; a convolution of two of them is then summed in integers where the CPU has
// instructions for it (VPDPBUSD): four times the products, and nothing is rounded before the end.

#include <memory>
#include <utility>
#include <vector>

namespace pare {

/// value = step[k] i,   i whole,  lo <= i <= hi,  lo <= 0 <= hi,   step >= 0;   k is the index of
/// the first axis or, with one step, 0. NaN stays NaN.
struct IntegerGrid {
  float lo, hi;
  std::vector<float> step;
};
using GridPtr = std::shared_ptr<const IntegerGrid>;
inline GridPtr integer_grid(float lo, float hi, std::vector<float> step) {
  return std::make_shared<IntegerGrid>(IntegerGrid{lo, hi, std::move(step)});
}

/// Off: everything is summed in float32. Default: on, unless the environment says PARE_INTEGERS=0.
bool integer_products();
void set_integer_products(bool on);

}  // namespace pare
