#pragma once
// Sizes of a dense, row-major tensor: at most five dimensions, the last one contiguous.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>
#include <string>

namespace pare {

class Shape {
 public:
  static constexpr int kMaxDims = 5;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims);

  int dims() const { return count_; }
  /// Size of dimension `i`; negative counts from the back, as in `dim(-1)`.
  int64_t dim(int i) const;
  int64_t operator[](int i) const { return dim(i); }
  int64_t numel() const;

  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + count_; }

  Shape with(int i, int64_t size) const;  // a copy with dimension i resized
  bool operator==(const Shape& other) const = default;
  std::string str() const;  // "[8, 28, 28, 64]"

 private:
  std::array<int64_t, kMaxDims> dims_{};
  int count_ = 0;
};

inline std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << shape.str();
}

/// A height and a width; one number means both.
struct Hw {
  int h, w;
  constexpr Hw(int both) : h(both), w(both) {}  // NOLINT: implicit on purpose
  constexpr Hw(int height, int width) : h(height), w(width) {}
  bool operator==(const Hw&) const = default;
};

}  // namespace pare
