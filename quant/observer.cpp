#include "quant/observer.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/kernels/bounds.h"

namespace pare::quant {

namespace {

/// Of n values side by side.
Interval extremes_of(const float* x, int64_t n) {
  const kernels::Bounds b = kernels::bounds(x, n);
  return {b.min, b.max};
}

}  // namespace

std::vector<Interval> extremes(const Tensor& x, QuantShare share) {
  if (share == QuantShare::tensor) {
    const Bounds b = bounds(x);
    return {{b.min, b.max}};
  }
  const float* p = x.data();
  const int64_t groups = share == QuantShare::filter ? x.dim(0) : x.dim(-1);
  const int64_t each = x.numel() / groups;
  std::vector<Interval> all;
  if (share == QuantShare::filter) {
    for (int64_t g = 0; g < groups; ++g) all.push_back(extremes_of(p + g * each, each));
    return all;
  }
  std::vector<float> min(static_cast<size_t>(groups)), max(min);
  kernels::bounds_columns(p, each, groups, min.data(), max.data());
  for (size_t g = 0; g < min.size(); ++g) all.push_back({min[g], max[g]});
  return all;
}

Observer::Observer(const ObserverSetup& setup) : setup_(setup) {}

void Observer::observe(const Tensor& x) {
  PARE_CHECK(x && x.numel() > 0, "quant: an observer got an empty tensor");
  const std::vector<Interval> batch = extremes(x, setup_.share);
  PARE_CHECK(static_cast<int64_t>(batch.size()) == setup_.groups, "quant: an observer of ",
             setup_.groups, " groups got ", x.shape());
  for (const Interval& i : batch) {
    PARE_CHECK(std::isfinite(i.min) && std::isfinite(i.max),
               "quant: calibration met a value that is not finite: ", i.min, " to ", i.max,
               hint("look at the model's weights and at the images"));
  }
  if (seen_.empty()) seen_ = batch;
  for (size_t g = 0; g < batch.size(); ++g) {
    seen_[g].min = std::min(seen_[g].min, batch[g].min);
    seen_[g].max = std::max(seen_[g].max, batch[g].max);
  }
  add(x, batch);
}

}  // namespace pare::quant
