#pragma once
// Resampling with a filter that widens when an image shrinks (antialias), as PIL and torchvision
// do. Private to datasets.

#include "datasets/bitmap.h"
#include "datasets/datasets.h"

namespace pare::datasets {

/// The pixels that the filter may reach.
enum class Reach { box, bitmap };  // box: the same as cropping first

/// The part `box` of x, stretched to y [height, width, 3].
///   y[i] = sum_j f((j + 0.5 - c_i) / s) x[j] / sum_j f(...),   c_i = box.x + (i + 0.5) r,
///   r = box.width / width,  s = max(r, 1);  along rows, rounded to bytes, then along columns.
struct ResizeOptions {
  int64_t height, width;
  Filter filter = Filter::bilinear;
  Reach reach = Reach::box;
};
Bitmap resize(const Bitmap& x, const Box& box, const ResizeOptions& options);

}  // namespace pare::datasets
