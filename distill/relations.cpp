#include "distill/relations.h"

#include "core/error.h"
#include "core/ops.h"

namespace pare::distill {

namespace {

constexpr float kTiny = 1e-12f;

/// Zeros on the diagonal of [n, n], ones elsewhere.
Tensor off_diagonal(int64_t n) {
  Tensor mask = Tensor::ones({n, n});
  for (int64_t i = 0; i < n; ++i) mask.data()[i * n + i] = 0;
  return mask;
}

}  // namespace

Tensor rows(const Tensor& x) {
  PARE_CHECK(x.dims() >= 2 && x.dim(0) > 0, "distill: got features ", x.shape(),
             ", expected [N, ...]");
  return reshape(x, {x.dim(0), x.numel() / x.dim(0)});
}

Tensor unit_rows(const Tensor& x) {
  return x / sqrt(clamp(sum(square(x), {1}, true), kTiny * kTiny, 3e38f));
}

Tensor squared_distances(const Tensor& x) {
  const int64_t n = x.dim(0);
  const Tensor norms = sum(square(x), {1}, true);  // [N, 1]
  const Tensor d = norms + reshape(norms, {1, n}) - 2.0f * matmul(x, transpose(x));
  return d * off_diagonal(n);
}

Tensor by_maximum(const Tensor& x) { return x / clamp(max(x), kTiny, 3e38f); }

Tensor pooled(const Tensor& x, int64_t height, int64_t width, const char* who) {
  if (x.dims() == 2 || (x.dim(1) == height && x.dim(2) == width)) return x;
  PARE_CHECK(x.dim(1) % height == 0 && x.dim(2) % width == 0, who, ": maps of ", x.dim(1), "x",
             x.dim(2), " cannot be averaged to ", height, "x", width,
             hint("choose places whose sizes divide"));
  const Hw window{static_cast<int>(x.dim(1) / height), static_cast<int>(x.dim(2) / width)};
  return avg_pool2d(x, {.kernel = window, .stride = window});
}

Pair same_size(const Tensor& student, const Tensor& teacher, const char* who) {
  PARE_CHECK(student.dims() == teacher.dims() && (student.dims() == 4 || student.dims() == 2), who,
             ": the student's features are ", student.shape(), ", the teacher's ", teacher.shape(),
             ", expected [N, H, W, C] or [N, C] of both");
  if (student.dims() == 2) return {student, teacher};
  const int64_t height = std::min(student.dim(1), teacher.dim(1));
  const int64_t width = std::min(student.dim(2), teacher.dim(2));
  return {pooled(student, height, width, who), pooled(teacher, height, width, who)};
}

Tensor huber_mean(const Tensor& x) {
  const Tensor size = abs(x), inner = clamp(size, 0.0f, 1.0f);
  return mean(0.5f * square(inner) + size - inner);
}

}  // namespace pare::distill
