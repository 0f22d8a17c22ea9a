// The passes of Gather by Winograd's algorithm. Usually the weights are transformed once, and each
// batch of tiles is multiplied by all of them while it is in cache. Where weights outweigh tiles
// they would go to memory and come back: there it is all tiles that are transformed first, and each
// panel's weights are transformed a slice at a time, which is multiplied with them while it is in
// cache. The sums are the same, bit for bit.

#include <algorithm>
#include <vector>

#include "core/ops/conv_gather.h"
#include "core/parallel.h"
#include "core/scratch.h"

namespace pare {

namespace {

using kernels::PackSource;
using kernels::Panel;
using kernels::winograd_plane;
using kernels::WinogradPlan;

/// What a pass reads and writes.
struct Work {
  const WinogradPlan& plan;
  const GatherPass& pass;
  kernels::Source x;
  const float *w, *bias;
  float* y;

  Block block(int64_t batch) const {
    const auto b = plan.batch(batch);
    return {batch, b.first, b.pixels, y + b.first * pass.p.y_pixel};
  }
};

/// Channels of weights that are transformed at a time, so that they stay in L1.
constexpr int64_t kChannels = 16;

/// A panel's weights of `some` channels, transformed, in planes of their own.
void transform_weights(const Work& work, const Panel& panel, int64_t first, int64_t some,
                       int64_t plane, float* to) {
  const GatherPass& pass = work.pass;
  const int lanes = work.plan.kernels->lanes, width = panel.vectors * lanes;
  Scratch scratch;
  float* taps = scratch.floats(pass.p.taps_h * pass.p.taps_w * some * width);
  PackSource from = pass.weight;
  from.base = work.w + pass.weight_offset + first * from.channel;
  kernels::pack_panel(from, pass.p.taps_h, pass.p.taps_w, some, panel, lanes, taps);
  kernels::winograd_weight(work.plan.kind, taps, some, width, plane, to);
}

/// All weights, panel after panel.
Tensor transform_weights(const Work& work) {
  const WinogradPlan& plan = work.plan;
  std::vector<int64_t> at{0};  // where each panel begins, and the last one ends
  for (size_t i = 0; i < plan.panels.size(); ++i) {
    at.push_back(at.back() + plan.panel_size(static_cast<int64_t>(i)));
  }
  Tensor packed = Tensor::uninit({at.back()});
  float* to = packed.data();
  const int64_t channels = plan.p.channels, slices = kernels::ceil_div(channels, kChannels);
  parallel_for(static_cast<int64_t>(plan.panels.size()) * slices, 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      const size_t panel = static_cast<size_t>(i / slices);
      const int64_t first = i % slices * kChannels, some = std::min(channels - first, kChannels);
      const int64_t width = plan.panels[panel].vectors * plan.kernels->lanes;
      transform_weights(work, plan.panels[panel], first, some, winograd_plane(plan.terms() * width),
                        to + at[panel] + first * plan.terms() / channels * width);
    }
  });
  return packed;
}

void run_by_batches(const Work& work, const BlockVisitor* visit) {
  const WinogradPlan& plan = work.plan;
  const GatherPass& pass = work.pass;
  const Tensor packed = transform_weights(work);
  const float* weights = packed.data();
  parallel_for(plan.batches(), 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      const Block block = work.block(i);
      kernels::winograd_batch(plan, i, work.x, pass.x_pixels, weights, work.bias, work.y,
                              pass.y_image, fetched_beside(visit, block, pass.p.y_pixel));
      if (visit) (*visit)(block);
    }
  });
}

/// [points] planes of [tiles, terms]
Tensor transform_tiles(const Work& work) {
  const WinogradPlan& plan = work.plan;
  const kernels::TileLayout layout = plan.factors(plan.tiles());
  Tensor v = Tensor::uninit({plan.kind.points() * layout.plane});
  float* to = v.data();
  parallel_for(plan.batches(), 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      kernels::winograd_batch_input(plan, i, work.x, work.pass.x_pixels, layout,
                                    to + plan.batch(i).tile * layout.line);
    }
  });
  return v;
}

/// The outputs of one panel in all images.
void run_panel(const Work& work, const Panel& panel, const float* v) {
  constexpr int64_t kSlice = 128;  // terms: their transformed weights and the sums take L2
  const WinogradPlan& plan = work.plan;
  const int64_t channels = plan.p.channels, terms = plan.terms(), word = channels / terms;
  const int64_t width = panel.vectors * plan.kernels->lanes;
  Scratch scratch;
  float* sums = scratch.floats(kernels::winograd_panel_sums(plan, panel));
  float* weights = scratch.floats(plan.kind.points() * winograd_plane(kSlice * width));
  for (int64_t first = 0; first < terms; first += kSlice) {
    const int64_t some = std::min(kSlice, terms - first), end = (first + some) * word;
    for (int64_t c = first * word; c < end; c += kChannels) {
      transform_weights(work, panel, c, std::min(end - c, kChannels), winograd_plane(some * width),
                        weights + (c / word - first) * width);
    }
    kernels::winograd_panel_add(plan, panel, v, first, some, weights, sums);
  }
  kernels::winograd_panel_store(plan, panel, work.bias, sums, work.y, work.pass.y_image);
}

void run_by_panels(const Work& work, const BlockVisitor* visit) {
  const WinogradPlan& plan = work.plan;
  const Tensor tiles = transform_tiles(work);
  const float* v = tiles.data();
  parallel_for(static_cast<int64_t>(plan.panels.size()), 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      run_panel(work, plan.panels[static_cast<size_t>(i)], v);
    }
  });
  if (!visit) return;
  parallel_for(plan.batches(), 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) (*visit)(work.block(i));
  });
}

}  // namespace

void Gather::run_winograd(const GatherPass& pass, float* y, const BlockVisitor* visit) const {
  const auto pending = x.pending();  // kept until the end: the source points into it
  const WinogradPlan plan(pass.p, pass.images, pass.outputs, *way.winograd);
  const Work work{plan, pass, source_of(x), w.data(), bias ? bias.data() : nullptr, y};
  plan.weights_outweigh ? run_by_panels(work, visit) : run_by_batches(work, visit);
}

}  // namespace pare
