#pragma once
// One op in one configuration, and what the rows of op_cases.h are made of.

#include <functional>
#include <string>
#include <vector>

#include "core/ops.h"
#include "core/tensor.h"

namespace pare::test {

using In = const std::vector<Tensor>&;

struct OpCase {
  /// What a check must know about the inputs, which are drawn uniformly from [lo, hi).
  struct Traits {
    std::vector<float> avoid = {};  // kinks: inputs keep a distance from these values
    float lo = -2, hi = 2;
    bool distinct = false;   // all values keep a distance from each other: maxima
    bool surrogate = false;  // backward is a rule, or a kink is out of reach: no finite differences
    std::vector<Shape> large = {};  // inputs for threads and benchmarks; empty: the small ones
  };

  std::string name;
  std::vector<Shape> inputs;
  std::function<Tensor(In)> f;
  Traits traits = {};
};

/// 0, 1, 2, ... modulo `classes`.
inline Tensor labels(int64_t n, int64_t classes) {
  Tensor t = Tensor::uninit({n});
  for (int64_t i = 0; i < n; ++i) t.data()[i] = static_cast<float>(i % classes);
  return t;
}

/// Class probabilities, the same on every call.
inline Tensor probabilities(const Shape& shape) {
  Rng rng(99);
  return softmax(Tensor::normal(shape, rng)).detach();
}

/// Batch norm with statistics of its own: x, gamma, beta and what a step would leave behind.
inline Tensor norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, bool train) {
  Tensor mean = Tensor::full({x.dim(-1)}, 0.2f), var = Tensor::full({x.dim(-1)}, 1.5f);
  return batch_norm(x, gamma, beta, mean, var, {.train = train});
}

inline Tensor apply(const Pointwise& f, const Tensor& x) { return pointwise(f, x); }

inline const std::vector<Shape> kLargeImage = {{16, 16, 16, 24}};
inline const std::vector<Shape> kLargeNorm = {{16, 16, 16, 24}, {24}, {24}};
inline constexpr Pointwise kDorefa = {.kind = Pointwise::Kind::quantize, .a = 1, .b = 3, .c = 1};
inline constexpr Pointwise kTernary = {.kind = Pointwise::Kind::ternary, .a = 0.5f};
inline const FakeQuantOptions kFourBits = {.lo = 0, .hi = 15};
inline const FakeQuantOptions kSignedFourBits = {.lo = -8, .hi = 7};
inline const FakeQuantOptions kClipped = {.lo = 0, .hi = 15, .clip = true};

}  // namespace pare::test
