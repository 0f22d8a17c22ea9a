// a op b with broadcasting: sizes are matched from the back, 1 stretches.
//   add  da = dy        db = dy
//   sub  da = dy        db = -dy
//   mul  da = dy b      db = dy a
//   div  da = dy / b    db = -dy y / b
// each summed over the axes along which that operand was stretched.

#include "core/kernels/arithmetic.h"

#include <algorithm>
#include <array>

#include "core/autograd.h"
#include "core/deferred.h"
#include "core/error.h"
#include "core/ops.h"
#include "core/ops/common.h"
#include "core/ops/show.h"

namespace pare {

namespace {

using kernels::Arithmetic;
using kernels::Operand;

struct Axis {
  int64_t size;
  std::array<int64_t, 2> step;  // of a and b in elements; 0: stretched
};

/// The axes of the result, innermost first, neighbours merged where both operands allow it.
struct Broadcast {
  Shape shape;
  std::array<Axis, Shape::kMaxDims> axes{};
  int count = 0;
};

/// Size of axis `i` from the back; 1 beyond the front.
int64_t size_from_back(const Shape& s, int i) { return i < s.dims() ? s.dim(-1 - i) : 1; }

Broadcast broadcast(const char* op, const Tensor& a, const Tensor& b) {
  Broadcast plan;
  const int dims = std::max(a.dims(), b.dims());
  std::array<int64_t, Shape::kMaxDims> sizes{};
  std::array<int64_t, 2> step = {1, 1};
  for (int i = 0; i < dims; ++i) {
    const int64_t p = size_from_back(a.shape(), i), q = size_from_back(b.shape(), i),
                  size = p == 1 ? q : p;
    PARE_CHECK(p == q || p == 1 || q == 1, op, ": sizes ", p, " and ", q, " of axis ", -1 - i,
               " do not match, expected equal or 1", operand("a", a), operand("b", b));
    sizes[static_cast<size_t>(dims - 1 - i)] = size;
    const Axis axis = {size, {p == 1 ? 0 : step[0], q == 1 ? 0 : step[1]}};
    step = {step[0] * p, step[1] * q};
    if (size == 1) continue;
    Axis* last = plan.count > 0 ? &plan.axes[static_cast<size_t>(plan.count - 1)] : nullptr;
    if (last && axis.step[0] == last->step[0] * last->size &&
        axis.step[1] == last->step[1] * last->size) {
      last->size *= size;
    } else {
      plan.axes[static_cast<size_t>(plan.count++)] = axis;
    }
  }
  if (plan.count == 0) plan.axes[static_cast<size_t>(plan.count++)] = {1, {1, 1}};
  plan.shape = Shape(std::span<const int64_t>(sizes.data(), static_cast<size_t>(dims)));
  return plan;
}

/// Rows [r.begin, r.end) of the innermost axis, as many per kernel call as the second axis has
/// left.
void compute_rows(Arithmetic op, const Broadcast& plan, const float* a, const float* b, float* y,
                  Range r) {
  const Axis &inner = plan.axes[0], &middle = plan.axes[1];
  for (int64_t row = r.begin; row < r.end;) {
    const int64_t start = row % middle.size;
    std::array<int64_t, 2> offset = {start * middle.step[0], start * middle.step[1]};
    int64_t rest = row / middle.size;
    for (int i = 2; i < plan.count; ++i) {
      const Axis& axis = plan.axes[static_cast<size_t>(i)];
      offset[0] += rest % axis.size * axis.step[0];
      offset[1] += rest % axis.size * axis.step[1];
      rest /= axis.size;
    }
    const int64_t rows = std::min(middle.size - start, r.end - row);
    kernels::arithmetic(op, Operand{a + offset[0], middle.step[0], inner.step[0]},
                        Operand{b + offset[1], middle.step[1], inner.step[1]}, y + row * inner.size,
                        rows, inner.size);
    row += rows;
  }
}

Tensor compute(const char* name, Arithmetic op, const Tensor& a, const Tensor& b) {
  const Broadcast plan = broadcast(name, a, b);
  Tensor y = Tensor::uninit(plan.shape);
  const float *pa = a.data(), *pb = b.data();
  float* py = y.data();
  const Axis& inner = plan.axes[0];
  if (plan.count == 1) {
    parallel_for(inner.size, kGrain, [&](Range r) {
      kernels::arithmetic(op, Operand{pa + r.begin * inner.step[0], 0, inner.step[0]},
                          Operand{pb + r.begin * inner.step[1], 0, inner.step[1]}, py + r.begin, 1,
                          r.size());
    });
  } else if (y.numel() > 0) {
    parallel_for(y.numel() / inner.size, rows_per_task(inner.size),
                 [&](Range r) { compute_rows(op, plan, pa, pb, py, r); });
  }
  return y;
}

/// y = a op b for a number b (or b op a, swapped), into `y`.
Tensor compute(Arithmetic op, const Tensor& a, float b, Tensor y, bool swapped = false) {
  const float* pa = a.data();
  float* py = y.data();
  parallel_for(a.numel(), kGrain, [&](Range r) {
    const Operand t = {pa + r.begin}, number = {&b, 0, 0};
    kernels::arithmetic(op, swapped ? number : t, swapped ? t : number, py + r.begin, 1, r.size());
  });
  return y;
}

/// x, if it will be wanted for the gradient of `other`.
Tensor saved_for(const Tensor& other, const Tensor& x) {
  return grad_enabled() && other.requires_grad() ? x.detach() : Tensor{};
}

/// The sum as part of work that one operand has not done yet; empty if there is none or it cannot.
Tensor absorbed(const Tensor& a, const Tensor& b) {
  if (!fusion_enabled() || a.shape() != b.shape()) return {};
  // By value: plus() may finish the work and drop it.
  if (const auto work = a.pending()) {
    if (Tensor y = work->plus(b)) return y;
  }
  if (const auto work = b.pending()) return work->plus(a);
  return {};
}

}  // namespace

Tensor sum_to(const Tensor& dy, const Shape& shape) {
  if (dy.shape() == shape) return dy;
  Axes stretched;
  for (int i = 0; i < dy.dims(); ++i) {
    if (size_from_back(shape, i) == 1 && dy.dim(-1 - i) != 1) stretched.push_back(-1 - i);
  }
  return (stretched.empty() ? dy : sum(dy, stretched, true)).view(shape);
}

Tensor add(const Tensor& a, const Tensor& b) {
  if (Tensor y = absorbed(a, b)) return y;
  return record("add", compute("add", Arithmetic::add, a, b), {a, b},
                [sa = a.shape(), sb = b.shape()](const Tensor& dy, Needs need) -> Grads {
                  return {need[0] ? sum_to(dy, sa) : Tensor{}, need[1] ? sum_to(dy, sb) : Tensor{}};
                });
}

Tensor sub(const Tensor& a, const Tensor& b) {
  return record("sub", compute("sub", Arithmetic::sub, a, b), {a, b},
                [sa = a.shape(), sb = b.shape()](const Tensor& dy, Needs need) -> Grads {
                  return {need[0] ? sum_to(dy, sa) : Tensor{},
                          need[1] ? mul(sum_to(dy, sb), -1.0f) : Tensor{}};
                });
}

Tensor mul(const Tensor& a, const Tensor& b) {
  return record("mul", compute("mul", Arithmetic::mul, a, b), {a, b},
                [sa = a.shape(), sb = b.shape(), a = saved_for(b, a), b = saved_for(a, b)](
                    const Tensor& dy, Needs need) -> Grads {
                  return {need[0] ? sum_to(mul(dy, b), sa) : Tensor{},
                          need[1] ? sum_to(mul(dy, a), sb) : Tensor{}};
                });
}

Tensor div(const Tensor& a, const Tensor& b) {
  const Tensor y = compute("div", Arithmetic::div, a, b);
  return record("div", y, {a, b},
                [sa = a.shape(), sb = b.shape(), b = b.detach(), y = saved_for(b, y)](
                    const Tensor& dy, Needs need) -> Grads {
                  const Tensor q = div(dy, b);
                  return {need[0] ? sum_to(q, sa) : Tensor{},
                          need[1] ? mul(sum_to(mul(q, y), sb), -1.0f) : Tensor{}};
                });
}

Tensor add(const Tensor& a, float b) {
  return record("add", {{"value", b}}, compute(Arithmetic::add, a, b, Tensor::uninit(a.shape())),
                {a}, [](const Tensor& dy, Needs) -> Grads { return {dy}; });
}

Tensor mul(const Tensor& a, float b) {
  return record("mul", {{"value", b}}, compute(Arithmetic::mul, a, b, Tensor::uninit(a.shape())),
                {a}, [b](const Tensor& dy, Needs) -> Grads {
                  return {compute(Arithmetic::mul, dy, b, reuse(dy))};
                });
}

Tensor operator/(const Tensor& a, float b) {
  return record("div", {{"value", b}}, compute(Arithmetic::div, a, b, Tensor::uninit(a.shape())),
                {a}, [b](const Tensor& dy, Needs) -> Grads {
                  return {compute(Arithmetic::div, dy, b, reuse(dy))};
                });
}

Tensor operator/(float a, const Tensor& b) {
  const Tensor y = compute(Arithmetic::div, b, a, Tensor::uninit(b.shape()), true);
  return record("div", {{"numerator", a}}, y, {b},
                [b = b.detach(), y = y.detach()](const Tensor& dy, Needs) -> Grads {
                  return {mul(mul(div(dy, b), y), -1.0f)};
                });
}

}  // namespace pare
