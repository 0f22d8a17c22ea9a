// Instance relationship graph, Liu et al. 2019 (CVPR). With features f2, f3 of two places:
//   vertex     mean (z - t)^2 of the logits
//   edge       mean over f2, f3 and f3 averaged over its map of  mean (E_student - E_teacher)^2,
//              E_ij = ||f_i - f_j||^2 / max
//   transform  mean (D_student - D_teacher)^2,  D_n = max(||f2_n - f3_n||^2, 1e-12) / max over n
//   L = a vertex + b edge + c transform
// For the difference f2 is averaged to the size of f3, and channels of the wider one are averaged
// in neighbouring groups to the count of the narrower one.

#include "core/error.h"
#include "core/ops.h"
#include "distill/losses.h"
#include "distill/relations.h"
#include "distill/term.h"

namespace pare::distill {

namespace {

Tensor edges(const Tensor& f) { return by_maximum(squared_distances(rows(f))); }

/// [N, H, W, C] -> [N, H, W, channels]
Tensor narrowed(const Tensor& x, int64_t channels) {
  if (x.dim(3) == channels) return x;
  PARE_CHECK(x.dim(3) % channels == 0, "irg: ", x.dim(3), " channels do not divide into ",
             channels);
  const Shape apart{x.dim(0), x.dim(1), x.dim(2), channels, x.dim(3) / channels};
  return mean(reshape(x, apart), {-1});
}

Tensor transforms(const Tensor& f2, const Tensor& f3) {
  const int64_t channels = std::min(f2.dim(3), f3.dim(3));
  const Tensor a = narrowed(pooled(f2, f3.dim(1), f3.dim(2), "irg"), channels);
  const Tensor d = sum(square(rows(a - narrowed(f3, channels))), {1});
  return by_maximum(clamp(d, 1e-12f, 3e38f));
}

}  // namespace

Tensor irg(const Answer& student, const Answer& teacher, const IrgOptions& o) {
  PARE_CHECK(student.features.size() == 2 && teacher.features.size() == 2, "irg: got ",
             student.features.size(), " places, expected two");
  const auto &s = student.features, &t = teacher.features;
  for (const Tensor& f : {s[0], s[1], t[0], t[1]}) {
    PARE_CHECK(f.dims() == 4, "irg: got features ", f.shape(), ", expected [N, H, W, C]");
  }
  const Tensor t0 = t[0].detach(), t1 = t[1].detach();
  const Tensor edge = mse_loss(edges(s[0]), edges(t0)) + mse_loss(edges(s[1]), edges(t1)) +
                      mse_loss(edges(global_avg_pool2d(s[1])), edges(global_avg_pool2d(t1)));
  return o.vertex * mse_loss(student.logits, teacher.logits.detach()) + (o.edge / 3) * edge +
         o.transform * mse_loss(transforms(s[0], s[1]), transforms(t0, t1));
}

namespace {

struct Irg final : Term {
  explicit Irg(const IrgOptions& o) : options(o) {}
  Tensor operator()(const Answer& student, const Answer& teacher, const Tensor&) const override {
    return irg(student, teacher, options);
  }
  IrgOptions options;
};

}  // namespace

namespace parts {

TermInfo irg() {
  return {"irg",
          "instance relationship graph: logits, distances, change between two places (CVPR 2019)",
          {{"vertex", 0.1, 0}, {"edge", 5, 0}, {"transform", 5, 0}, {"weight", 1, 0}},
          2,
          2,
          [](const std::vector<double>& n) {
            const auto f = [&n](size_t i) { return static_cast<float>(n[i]); };
            return std::make_unique<Irg>(IrgOptions{f(0), f(1), f(2)});
          }};
}

}  // namespace parts

}  // namespace pare::distill
