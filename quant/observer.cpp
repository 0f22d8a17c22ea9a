#include "quant/observer.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/kernels/bounds.h"
#include "core/parallel.h"

namespace pare::quant {

namespace {

constexpr int64_t kChunk = 65536;  // elements that one task looks at

/// Of n values, in chunks that threads share; a NaN makes both NaN.
Interval extremes_of(const float* x, int64_t n) {
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  std::vector<kernels::Bounds> parts(static_cast<size_t>(chunks));
  parallel_for(chunks, 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      parts[static_cast<size_t>(i)] =
          kernels::bounds(x + i * kChunk, std::min(kChunk, n - i * kChunk));
    }
  });
  Interval all{parts[0].min, parts[0].max};
  for (const kernels::Bounds& b : parts) {
    if (std::isnan(b.min)) return {b.min, b.max};
    all = {std::min(all.min, b.min), std::max(all.max, b.max)};
  }
  return all;
}

}  // namespace

std::vector<Interval> extremes(const Tensor& x, QuantShare share) {
  const float* p = x.data();
  if (share == QuantShare::tensor) return {extremes_of(p, x.numel())};
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
