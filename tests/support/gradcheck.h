#pragma once
// Is backward the derivative of forward?  For random u and dy, with everything summed in double,
//   <dy, f(x + eps u) - f(x - eps u)> / (2 eps)   against   <dx, u>
// One eps for every op; inputs are drawn away from kinks.

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <vector>

#include "core/autograd.h"
#include "tests/support/op_cases.h"

namespace pare::test {

struct GradcheckOptions {
  float eps = 1e-2f;
  int directions = 4;  // for each input
};

/// The worst disagreement found.
struct Gap {
  double relative = 0;  // in units of the size that <dx, u> has for a random u
  size_t input = 0;
  int direction = 0;
  double numeric = 0, analytic = 0;
};
inline std::ostream& operator<<(std::ostream& out, const Gap& gap) {
  return out << "input " << gap.input << ", direction " << gap.direction << ": differences say "
             << gap.numeric << ", backward says " << gap.analytic << ", relative gap "
             << gap.relative;
}

/// Inputs as the row wants them.
inline std::vector<Tensor> draw_inputs(const OpCase& op, const std::vector<Shape>& shapes,
                                       Rng& rng) {
  constexpr float kDistance = 0.03f;  // three times the eps of a gradient check
  std::vector<Tensor> inputs;
  for (const Shape& shape : shapes) {
    Tensor x = Tensor::uniform(shape, rng, op.traits.lo, op.traits.hi);
    if (op.traits.distinct) {
      for (int64_t i = 0; i < x.numel(); ++i) {
        x.data()[i] = kDistance * static_cast<float>(i - x.numel() / 2);
      }
      auto values = x.span();
      rng.shuffle(values);
    }
    for (float& v : x.span()) {
      for (float kink : op.traits.avoid) {
        if (std::abs(v - kink) < kDistance) v = kink + (v < kink ? -kDistance : kDistance);
      }
    }
    inputs.push_back(x);
  }
  return inputs;
}

inline double inner(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) sum += double{a.data()[i]} * double{b.data()[i]};
  return sum;
}

/// x + eps u, the way it is really rounded.
inline Tensor shifted(const Tensor& x, const Tensor& u, float eps) {
  Tensor y = x.clone();
  for (int64_t i = 0; i < y.numel(); ++i) y.data()[i] += eps * u.data()[i];
  return y;
}

inline Gap gradcheck(const OpCase& op, Rng& rng, GradcheckOptions options = {}) {
  std::vector<Tensor> x = draw_inputs(op, op.inputs, rng);
  for (Tensor& t : x) t.requires_grad_();
  const Tensor y = op.f(x);
  const Tensor dy = Tensor::uniform(y.shape(), rng, -1, 1);
  y.backward(dy);
  Gap worst{-1};
  for (size_t i = 0; i < x.size(); ++i) {
    // An op that forgets an input must not pass for one that has a zero gradient.
    const Tensor dx = x[i].grad() ? x[i].grad() : Tensor::zeros(x[i].shape());
    const double size = std::sqrt(inner(dx, dx) / 3);  // deviation of <dx, u> for uniform u
    for (int k = 0; k < options.directions; ++k) {
      const Tensor u = Tensor::uniform(x[i].shape(), rng, -1, 1);
      NoGrad guard;
      std::vector<Tensor> up = x, down = x;
      up[i] = shifted(x[i], u, options.eps);
      down[i] = shifted(x[i], u, -options.eps);
      const double numeric = (inner(dy, op.f(up)) - inner(dy, op.f(down))) / (2 * options.eps);
      const double analytic = inner(dx, u), scale = std::max(size, 1e-3);
      const double gap = std::abs(numeric - analytic) / scale;
      if (!(gap <= worst.relative)) worst = {gap, i, k, numeric, analytic};
    }
  }
  return worst;
}

}  // namespace pare::test
