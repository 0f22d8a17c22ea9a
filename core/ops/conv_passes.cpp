#include "core/ops/conv_passes.h"

#include <algorithm>

#include "core/deferred.h"
#include "core/kernels/depthwise.h"
#include "core/ops/common.h"
#include "core/ops/conv_algorithm.h"
#include "core/ops/conv_gather.h"
#include "core/ops/conv_weight_winograd.h"
#include "core/parallel.h"
#include "core/precision.h"

namespace pare {

namespace {

using kernels::ConvShape;

bool is_depthwise(const ConvShape& s) {
  return s.groups > 1 && s.groups == s.in && s.groups == s.out;
}

/// Images are cut into a fixed number of shards, output channels into a fixed number of parts: by
/// shape alone, so the sums are the same for any number of threads.
struct WeightGradientCut {
  static constexpr int64_t kItems = 12, kMaxBytes = 16 << 20;
  int64_t shards, parts, part;  // part: output channels of one part

  WeightGradientCut(const ConvShape& s, int64_t dw_numel) {
    const int64_t fit = std::max<int64_t>(1, kMaxBytes / (dw_numel * 4));
    shards = std::max<int64_t>(1, std::min({fit, kItems, s.images}));
    const int64_t out = s.out / s.groups, unit = kernels::kRowUnit;
    const int64_t wanted = (kItems + shards - 1) / shards, units = (out + unit - 1) / unit;
    part = (units + wanted - 1) / wanted * unit;
    parts = (out + part - 1) / part;
  }
};

/// Rounding to bfloat16 takes copies of the operands: it pays with so many products of each number.
constexpr int64_t kManyProducts = 32;

bool worth_rounding(const std::vector<GatherPass>& passes) {
  int64_t products = 0, copies = 0;
  for (const GatherPass& pass : passes) {
    const auto& p = pass.p;
    products += pass.outputs * p.taps_h * p.taps_w;
    copies += p.step_h * p.step_w;
  }
  return products >= kManyProducts * copies;
}
bool worth_rounding(const ConvShape& s) {
  const int64_t taps = s.kernel_h * s.kernel_w, stride = s.stride_h * s.stride_w;
  return std::min(s.out * taps / stride, s.in * taps) >= kManyProducts * s.groups;
}

Tensor gathered(std::vector<GatherPass> passes, const Tensor& x, const Tensor& w,
                const Tensor& bias, const Shape& shape, bool exact) {
  GatherWay way;
  if (passes.size() == 1) way.grids = byte_grids(passes[0], x, w);
  if (!exact && !way.grids) {
    const bool bf16 =
        precision() == Precision::bf16 && worth_rounding(passes) &&
        std::all_of(passes.begin(), passes.end(), [](const auto& p) { return p.p.fits_words(2); });
    if (passes.size() == 1) way.winograd = chosen_kind(passes[0], bf16);
    way.bf16 = bf16 && !way.winograd;
  }
  const auto work = std::make_shared<Gather>(std::move(passes), x, w, bias, std::move(way));
  return Tensor::deferred(shape, work, {work->x, work->w, work->bias});
}

}  // namespace

Tensor conv_forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias,
                    const Shape& y_shape, bool exact) {
  if (y_shape.numel() == 0) return Tensor::uninit(y_shape);
  if (!is_depthwise(s)) {
    return gathered({forward_pass(s)}, x, w, bias, y_shape, exact);
  }
  Tensor y = Tensor::uninit(y_shape);
  const Tensor packed = kernels::depthwise_pack(s, w);
  const float *px = x.data(), *pw = packed.data(), *b = bias ? bias.data() : nullptr;
  float* py = y.data();
  parallel_for(s.images * s.out_h(), 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) kernels::depthwise_row(s, px, pw, b, i, py);
  });
  return y;
}

Tensor conv_data_gradient(const ConvShape& s, const Tensor& dy, const Tensor& w, const Tensor& bias,
                          const Shape& dx_shape) {
  if (dx_shape.numel() == 0) return Tensor::uninit(dx_shape);
  if (!is_depthwise(s)) {
    return gathered(data_gradient_passes(s), dy, w, bias, dx_shape, /*exact=*/false);
  }
  Tensor dx = Tensor::uninit(dx_shape);
  const Tensor packed = kernels::depthwise_pack(s, w);
  const float *pdy = dy.data(), *pw = packed.data(), *b = bias ? bias.data() : nullptr;
  float* pdx = dx.data();
  parallel_for(s.images * s.height, 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i)
      kernels::depthwise_data_gradient_row(s, pdy, pw, b, i, pdx);
  });
  return dx;
}

Tensor conv_weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy,
                            const Shape& dw_shape, Tensor* db) {
  GatherWay::Kind kind;
  if (dy.numel() > 0) kind = chosen_weight_kind(s);
  return kind ? winograd_weight_gradient(s, *kind, x, dy, dw_shape, db)
              : direct_weight_gradient(s, x, dy, dw_shape, db);
}

Tensor direct_weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy,
                              const Shape& dw_shape, Tensor* db) {
  const int64_t n = dw_shape.numel();
  const WeightGradientCut cut(s, std::max<int64_t>(n, 1));
  const bool depthwise = is_depthwise(s);
  const int64_t parts = depthwise ? 1 : cut.parts;
  if (dy.numel() == 0) {
    if (db) *db = Tensor::zeros({s.out});
    return Tensor::zeros(dw_shape);
  }
  Tensor dw = depthwise ? Tensor::zeros({cut.shards, n}) : Tensor::uninit({cut.shards, n});
  Tensor db_shards = db ? Tensor::zeros({cut.shards, s.out}) : Tensor{};
  const auto pending = depthwise ? nullptr : x.pending();  // the source points into it
  const kernels::Source source = depthwise ? kernels::Source{x.data()} : source_of(x);
  if (parts > 1 || depthwise) dy.data();  // which each part reads
  const RowWalk walk(dy);
  const float* pdy = walk.data();
  float *pdw = dw.data(), *pdb = db ? db_shards.data() : nullptr;
  const bool bf16 = precision() == Precision::bf16 && worth_rounding(s);
  const kernels::OuterPlan plan(s, bf16              ? kernels::Operands::bf16
                                   : source.stored() ? kernels::Operands::stored
                                                     : kernels::Operands::computed);
  parallel_for(cut.shards * parts, 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      const int64_t shard = i / parts, begin = i % parts * cut.part;
      const int64_t first = s.images * shard / cut.shards,
                    last = s.images * (shard + 1) / cut.shards;
      float* shard_db = db ? pdb + shard * s.out : nullptr;
      if (depthwise) {
        kernels::depthwise_weight_gradient(s, source.x, pdy, first, last, pdw + shard * n,
                                           shard_db);
      } else {
        const int64_t end = std::min(begin + cut.part, s.out / s.groups);
        kernels::weight_gradient(
            plan, source, pdy, [&](int64_t pixel, int64_t count) { walk.come_to(pixel, count); },
            first, last, begin, end, pdw + shard * n, shard_db);
      }
    }
  });
  if (db) {
    *db = Tensor::uninit({s.out});
    add_parts(db_shards, cut.shards, *db);
  }
  if (cut.shards == 1) return dw.view(dw_shape);
  Tensor merged = Tensor::uninit(dw_shape);
  add_parts(dw, cut.shards, merged);
  return merged;
}

}  // namespace pare
