#include "core/shape.h"

#include <algorithm>
#include <sstream>

#include "core/error.h"

namespace pare {

Shape::Shape(std::span<const int64_t> dims) : count_(static_cast<int>(dims.size())) {
  PARE_CHECK(count_ <= kMaxDims, "shape: ", count_, " dimensions, at most ", kMaxDims,
             " are supported");
  for (int64_t d : dims) PARE_CHECK(d >= 0, "shape: a dimension must be >= 0, got ", d);
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

int64_t Shape::dim(int i) const {
  const int index = i < 0 ? i + count_ : i;
  PARE_CHECK(index >= 0 && index < count_, "shape: no dimension ", i, " in ", str());
  return dims_[static_cast<size_t>(index)];
}

int64_t Shape::numel() const {
  int64_t n = 1;
  for (int64_t d : *this) n *= d;
  return n;
}

Shape Shape::with(int i, int64_t size) const {
  Shape copy = *this;
  copy.dims_[static_cast<size_t>(i < 0 ? i + count_ : i)] = size;
  return copy;
}

std::string Shape::str() const {
  std::ostringstream out;
  out << '[';
  for (int i = 0; i < count_; ++i) out << (i ? ", " : "") << dims_[static_cast<size_t>(i)];
  out << ']';
  return out.str();
}

}  // namespace pare
