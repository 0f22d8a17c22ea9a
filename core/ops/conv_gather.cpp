#include "core/ops/conv_gather.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "core/kernels/bf16.h"
#include "core/parallel.h"
#include "core/scratch.h"

namespace pare {

namespace {

using kernels::ConvShape;
using kernels::GatherPlan;
using kernels::GatherProblem;
using kernels::Operands;
using kernels::PackSource;
using kernels::Panel;

/// 1x1, stride 1, no padding: every pixel for itself, whatever image it is in.
bool is_flat(const ConvShape& s) {
  return s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_h == 0 &&
         s.pad_w == 0;
}

void flatten(GatherPass& pass) {
  GatherProblem& p = pass.p;
  p.width = p.cols = pass.images * p.height * p.width;
  p.height = p.rows = 1;
  pass.images = 1;
}

/// f(group, panel, offset of the panel) for the panels of all groups, in parallel.
template <class F>
void for_each_panel(const GatherPlan& plan, int64_t groups, F&& f) {
  const int64_t panels = static_cast<int64_t>(plan.panels.size());
  const int64_t k = plan.terms, lanes = plan.kernels->lanes;
  parallel_for(groups * panels, 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      const int64_t g = i / panels, index = i % panels;
      int64_t offset = g * plan.packed_size();
      for (int64_t before = 0; before < index; ++before)
        offset += plan.panels[static_cast<size_t>(before)].vectors * lanes * k;
      f(g, plan.panels[static_cast<size_t>(index)], offset);
    }
  });
}

PackSource group_weights(const GatherPass& pass, const float* w, int64_t group) {
  PackSource from = pass.weight;
  from.base = w + pass.weight_offset + group * pass.weight_group;
  return from;
}

/// The weights of all groups, packed into panels once per call.
Tensor pack(const GatherPlan& plan, const GatherPass& pass, const float* w) {
  Tensor packed = Tensor::uninit({pass.groups * plan.packed_size()});
  float* to = packed.data();
  const auto pack = plan.operands != Operands::bf16 ? kernels::pack_panel
                    : plan.paired_windows           ? kernels::pack_panel_window_pairs
                                                    : kernels::pack_panel_pairs;
  for_each_panel(plan, pass.groups, [&](int64_t g, const Panel& panel, int64_t offset) {
    pack(group_weights(pass, w, g), pass.p.taps_h, pass.p.taps_w, pass.p.in_per_group(), panel,
         plan.kernels->lanes, to + offset);
  });
  return packed;
}

/// Multiples of 0, or of what a float can't divide by, are all 0.
float inverse_of(float step) {
  return std::fabs(step) < std::numeric_limits<float>::min() ? 0.0f : 1 / step;
}

/// Likewise as bytes, and what turns their sums into values: see kernels::GatherWeights.
struct PackedBytes {
  Tensor panels, start, scale;
};

PackedBytes pack(const GatherPlan& plan, const GatherPass& pass, const float* w,
                 const Grids& grids) {
  const int64_t outputs = pass.groups * pass.outputs;
  PackedBytes packed{Tensor::uninit({pass.groups * plan.packed_size()}), Tensor::uninit({outputs}),
                     Tensor::uninit({outputs})};
  float *to = packed.panels.data(), *start = packed.start.data(), *scale = packed.scale.data();
  const std::vector<float>& steps = grids.w->step;
  const int32_t lo = static_cast<int32_t>(grids.x->lo);
  for_each_panel(plan, pass.groups, [&](int64_t g, const Panel& panel, int64_t offset) {
    float inverse[kernels::kMaxPanel];
    int32_t sums[kernels::kMaxPanel] = {};
    const int64_t first = g * pass.outputs + panel.begin;
    const auto step = [&](int64_t n) {
      return steps[steps.size() > 1 ? static_cast<size_t>(first + n) : 0];
    };
    for (int64_t n = 0; n < panel.cols; ++n) inverse[n] = inverse_of(step(n));
    const bool inside = kernels::pack_panel_quads(group_weights(pass, w, g), pass.p.taps_h,
                                                  pass.p.taps_w, pass.p.in_per_group(), panel,
                                                  plan.kernels->lanes, inverse, sums, to + offset);
    for (int64_t n = 0; n < panel.cols; ++n) {
      const int32_t shifted = lo * sums[n];
      std::memcpy(start + first + n, &shifted, sizeof shifted);
      scale[first + n] =
          inside ? grids.x->step[0] * step(n) : std::numeric_limits<float>::quiet_NaN();
    }
  });
  return packed;
}

/// Along one axis: the outputs i = phase + stride * u of the data gradient read dy rows u + e - t
/// D, one for each of the `count` taps k = first + t * every that divide.
struct Phase {
  int64_t outputs, count, first, every, spacing, top;
};

Phase phase_of(int64_t phase, int64_t size, int64_t kernel, int64_t stride, int64_t pad,
               int64_t dilation) {
  Phase p{(size - phase + stride - 1) / stride, 0, 0, stride / std::gcd(stride, dilation), 0, 0};
  p.spacing = p.every * dilation / stride;
  for (p.first = 0; p.first < kernel; ++p.first) {
    if ((phase + pad - p.first * dilation) % stride == 0) break;
  }
  if (p.first < kernel) p.count = (kernel - 1 - p.first) / p.every + 1;
  const int64_t e = (phase + pad - p.first * dilation) / stride;  // exact whenever a tap exists
  p.top = (p.count - 1) * p.spacing - e;
  return p;
}

/// dx at the pixels of one stride phase: a dense convolution of dy with the taps that reach them,
/// flipped.
GatherPass phase_pass(const ConvShape& s, const Phase& v, const Phase& h, int64_t offset) {
  const int64_t in = s.in / s.groups, out = s.out / s.groups, tap = in, tap_row = s.kernel_w * in;
  GatherPass pass{.p = {.height = s.out_h(),
                        .width = s.out_w(),
                        .channels = s.out,
                        .top = v.top,
                        .left = h.top,
                        .step_h = 1,
                        .step_w = 1,
                        .taps_h = v.count,
                        .taps_w = h.count,
                        .tap_h = v.spacing,
                        .tap_w = h.spacing,
                        .rows = v.outputs,
                        .cols = h.outputs,
                        .y_row = s.stride_h * s.width * s.in,
                        .y_pixel = s.stride_w * s.in,
                        .group_in = out},
                  .images = s.images,
                  .x_pixels = s.out_h() * s.out_w(),
                  .y_image = s.height * s.width * s.in,
                  .y_offset = offset,
                  .groups = s.groups,
                  .outputs = in,
                  .weight = {nullptr, -v.every * tap_row, -h.every * tap, s.kernel_h * tap_row, 1},
                  .weight_offset = (v.first + (v.count - 1) * v.every) * tap_row +
                                   (h.first + (h.count - 1) * h.every) * tap,
                  .weight_group = out * s.kernel_h * tap_row};
  if (v.count == 0 || h.count == 0) {  // no tap reaches this phase: an empty sum, reading nothing
    pass.p.height = pass.p.rows, pass.p.width = pass.p.cols;
    pass.p.top = pass.p.left = pass.p.taps_h = pass.p.taps_w = 0;
  } else if (is_flat(s)) {
    flatten(pass);
  }
  return pass;
}

}  // namespace

GatherPass forward_pass(const ConvShape& s) {
  const int64_t in = s.in / s.groups, out = s.out / s.groups;
  const int64_t filter = s.kernel_h * s.kernel_w * in;
  GatherPass pass{.p = {.height = s.height,
                        .width = s.width,
                        .channels = s.in,
                        .top = s.pad_h,
                        .left = s.pad_w,
                        .step_h = s.stride_h,
                        .step_w = s.stride_w,
                        .taps_h = s.kernel_h,
                        .taps_w = s.kernel_w,
                        .tap_h = s.dilation_h,
                        .tap_w = s.dilation_w,
                        .rows = s.out_h(),
                        .cols = s.out_w(),
                        .y_row = s.out_w() * s.out,
                        .y_pixel = s.out,
                        .group_in = in},
                  .images = s.images,
                  .x_pixels = s.height * s.width,
                  .y_image = s.out_h() * s.out_w() * s.out,
                  .y_offset = 0,
                  .groups = s.groups,
                  .outputs = out,
                  .weight = {nullptr, s.kernel_w * in, in, 1, filter},
                  .weight_offset = 0,
                  .weight_group = out * filter};
  if (is_flat(s)) flatten(pass);
  return pass;
}

std::vector<GatherPass> data_gradient_passes(const ConvShape& s) {
  std::vector<GatherPass> passes;
  for (int64_t a = 0; a < std::min(s.stride_h, s.height); ++a) {
    const Phase v = phase_of(a, s.height, s.kernel_h, s.stride_h, s.pad_h, s.dilation_h);
    for (int64_t c = 0; c < std::min(s.stride_w, s.width); ++c) {
      const Phase h = phase_of(c, s.width, s.kernel_w, s.stride_w, s.pad_w, s.dilation_w);
      passes.push_back(phase_pass(s, v, h, (a * s.width + c) * s.in));
    }
  }
  return passes;
}

std::optional<Grids> byte_grids(const GatherPass& pass, const Tensor& x, const Tensor& w) {
  const Grids grids{x.grid(), w.grid()};
  if (!grids.x || !grids.w || !integer_products() || !kernels::quad_kernels()) return {};
  const size_t steps = grids.w->step.size();
  const bool bytes = grids.x->hi - grids.x->lo <= 255 && grids.w->lo >= -128 && grids.w->hi <= 127;
  const bool shared = grids.x->step.size() == 1 &&
                      (steps == 1 || static_cast<int64_t>(steps) == pass.groups * pass.outputs);
  constexpr int64_t kMaxSum = (int64_t{1} << 31) / (255 * 128) - 1;  // products that int32 holds
  const bool fits = pass.p.fits_words(4) && pass.p.reduction() <= kMaxSum / 2;
  return bytes && shared && fits ? std::optional(grids) : std::nullopt;
}

Gather::Gather(std::vector<GatherPass> p, const Tensor& input, const Tensor& weight,
               const Tensor& b, GatherWay how)
    : passes(std::move(p)),
      x(input.detach()),
      w(weight.detach()),
      bias(b.detach()),
      way(std::move(how)) {}

Operands Gather::operands(const kernels::Source& from) const {
  if (way.grids) return Operands::integers;
  if (way.bf16) return Operands::bf16;
  return from.stored() ? Operands::stored : Operands::computed;
}

int64_t Gather::blocks() const {
  if (passes.size() != 1) return 0;  // stride phases interleave
  const GatherPass& pass = passes[0];
  if (way.winograd) {
    return kernels::WinogradPlan(pass.p, pass.images, pass.outputs, *way.winograd).batches();
  }
  return pass.images * GatherPlan(pass.p, pass.outputs, operands({})).bands();
}

void Gather::run(float* y) const {
  for (const GatherPass& pass : passes) run(pass, y, nullptr);
}

void Gather::run(float* y, BlockVisitor visit) const { run(passes.at(0), y, &visit); }

kernels::Ahead fetched_beside(const BlockVisitor* visit, const Block& block, int64_t channels) {
  kernels::Ahead ahead;
  if (!visit) return ahead;
  for (const float* read : visit->reads()) {
    ahead.add(read + block.first * channels, block.rows * channels);
  }
  return ahead;
}

void Gather::run(const GatherPass& pass, float* y, const BlockVisitor* visit) const {
  if (way.winograd) return run_winograd(pass, y, visit);
  const auto pending = x.pending();  // kept until the end: the source points into it
  const kernels::Source from = source_of(x);
  const GatherPlan plan(pass.p, pass.outputs, operands(from));
  kernels::GatherWeights weights{nullptr, bias ? bias.data() : nullptr};
  PackedBytes packed;
  if (way.grids) {
    packed = pack(plan, pass, w.data(), *way.grids);
    const IntegerGrid& grid = *way.grids->x;
    const float step = grid.step[0];
    weights.code = {inverse_of(step), static_cast<int>(grid.lo), static_cast<int>(grid.hi)};
    weights.start = packed.start.data(), weights.scale = packed.scale.data();
  } else {
    packed.panels = pack(plan, pass, w.data());
  }
  weights.panels = packed.panels.data();
  y += pass.y_offset;
  parallel_for(pass.images * plan.bands(), 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      const int64_t image = i / plan.bands(), band = i % plan.bands();
      float* to = y + image * pass.y_image;
      const GatherPlan::Band area = plan.band(band);
      const int64_t pixel = area.row * pass.p.cols + area.col;
      const Block block{i, image * pass.p.rows * pass.p.cols + pixel, area.rows * area.cols,
                        to + pixel * pass.p.y_pixel};
      kernels::gather_band(plan, band, from, image * pass.x_pixels, weights, pass.groups,
                           pass.outputs, to, fetched_beside(visit, block, pass.p.y_pixel));
      if (visit) (*visit)(block);
    }
  });
}

}  // namespace pare
