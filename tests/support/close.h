#pragma once
// Comparing arrays, with a message that says where and by how much: CHECK(close(got, want,
// {.relative = 1e-6})).

#include <cmath>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"

namespace pare::test {

/// |got - want| <= absolute + relative * the largest |want|. Zero means equal; NaN equals NaN.
struct Tolerance {
  double absolute = 0, relative = 0;
};

struct Closeness {
  bool ok = true;
  std::string text = "close";
  explicit operator bool() const { return ok; }
};
inline std::ostream& operator<<(std::ostream& out, const Closeness& c) { return out << c.text; }

template <class Got, class Want>
Closeness compare(std::span<const Got> got, std::span<const Want> want, Tolerance tolerance) {
  if (got.size() != want.size()) {
    return {false, str("got ", got.size(), " values, expected ", want.size())};
  }
  double scale = 0, worst = -1;
  for (Want w : want) {
    if (std::isfinite(w)) scale = std::max(scale, std::abs(static_cast<double>(w)));
  }
  const double allowed = tolerance.absolute + tolerance.relative * scale;
  size_t at = 0, wrong = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double g = static_cast<double>(got[i]), w = static_cast<double>(want[i]);
    if (g == w || (std::isnan(g) && std::isnan(w))) continue;
    const double gap = std::isfinite(g - w) ? std::abs(g - w) : HUGE_VAL;
    if (gap <= allowed) continue;
    ++wrong;
    if (gap > worst) worst = gap, at = i;
  }
  if (wrong == 0) return {};
  return {false, str(wrong, " of ", got.size(), " differ, most at ", at, ": got ", got[at],
                     ", expected ", want[at], ", off by ", worst, ", allowed ", allowed)};
}

inline Closeness close(std::span<const float> got, std::span<const float> want, Tolerance t = {}) {
  return compare(got, want, t);
}
inline Closeness close(std::span<const float> got, std::span<const double> want, Tolerance t = {}) {
  return compare(got, want, t);
}
inline Closeness close(const Tensor& got, const Tensor& want, Tolerance t = {}) {
  if (!got || !want) return {!got && !want, "one is empty"};
  if (got.shape() != want.shape()) {
    return {false, str("got shape ", got.shape(), ", expected ", want.shape())};
  }
  return compare(got.span(), want.span(), t);
}
inline Closeness close(const Tensor& got, const std::vector<double>& want, Tolerance t = {}) {
  return compare(got.span(), std::span<const double>(want), t);
}

}  // namespace pare::test
