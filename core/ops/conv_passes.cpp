#include "core/ops/conv_passes.h"

#include <algorithm>
#include <numeric>

#include "core/kernels/depthwise.h"
#include "core/parallel.h"

namespace pare {

namespace {

using kernels::ConvShape;
using kernels::GatherPlan;
using kernels::GatherProblem;
using kernels::PackSource;

bool is_depthwise(const ConvShape& s) {
  return s.groups > 1 && s.groups == s.in && s.groups == s.out;
}

/// 1x1, stride 1, no padding: every pixel for itself, whatever image it is in.
bool is_flat(const ConvShape& s) {
  return s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_h == 0 &&
         s.pad_w == 0;
}

/// The weights of all groups, packed into panels once per call.
Tensor pack(const GatherPlan& plan, int64_t groups, PackSource source, int64_t group_stride) {
  const int64_t size = plan.packed_size(), panels = static_cast<int64_t>(plan.panels.size());
  Tensor packed = Tensor::uninit({groups * size});
  float* to = packed.data();
  const int64_t k = plan.p.reduction(), lanes = plan.kernels->lanes;
  parallel_for(groups * panels, 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      const int64_t g = i / panels, index = i % panels;
      int64_t offset = g * size;
      for (int64_t before = 0; before < index; ++before)
        offset += plan.panels[static_cast<size_t>(before)].vectors * lanes * k;
      PackSource from = source;
      from.base += g * group_stride;
      kernels::pack_panel(from, plan.p.taps_h, plan.p.taps_w, plan.p.in_per_group(),
                          plan.panels[static_cast<size_t>(index)], plan.kernels->lanes,
                          to + offset);
    }
  });
  return packed;
}

struct Images {
  int64_t count, x_stride, y_stride;
};

void run(const GatherPlan& plan, const Images& images, const float* x, const Tensor& packed,
         const float* bias, int64_t groups, int64_t outputs_per_group, float* y) {
  const float* w = packed.data();
  parallel_for(images.count * plan.bands(), 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      const int64_t image = i / plan.bands();
      kernels::gather_band(plan, i % plan.bands(), x + image * images.x_stride, w, bias, groups,
                           outputs_per_group, y + image * images.y_stride);
    }
  });
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
void data_gradient_phase(const ConvShape& s, const Phase& v, const Phase& h, int64_t offset,
                         const Tensor& dy, const Tensor& w, const float* bias, float* dx) {
  const int64_t in = s.in / s.groups, out = s.out / s.groups, tap = in, tap_row = s.kernel_w * in;
  GatherProblem p{s.out_h(),
                  s.out_w(),
                  s.out,
                  v.top,
                  h.top,
                  1,
                  1,
                  v.count,
                  h.count,
                  v.spacing,
                  h.spacing,
                  v.outputs,
                  h.outputs,
                  s.stride_h * s.width * s.in,
                  s.stride_w * s.in,
                  out};
  Images images{s.images, s.out_h() * s.out_w() * s.out, s.height * s.width * s.in};
  if (v.count == 0 || h.count == 0) {  // no tap reaches this phase: an empty sum, reading nothing
    p.height = p.rows, p.width = p.cols;
    p.top = p.left = p.taps_h = p.taps_w = 0;
  } else if (is_flat(s)) {
    p.height = p.rows = 1;
    p.width = p.cols = s.images * s.height * s.width;
    images = {1, 0, 0};
  }
  const GatherPlan plan(p, in);
  const int64_t last_v = v.first + (v.count - 1) * v.every,
                last_h = h.first + (h.count - 1) * h.every;
  const PackSource source{w.data() + last_v * tap_row + last_h * tap, -v.every * tap_row,
                          -h.every * tap, s.kernel_h * tap_row, 1};
  const Tensor packed = pack(plan, s.groups, source, out * s.kernel_h * tap_row);
  run(plan, images, dy.data(), packed, bias, s.groups, in, dx + offset);
}

/// Images are cut into a fixed number of shards, output channels into a fixed number of parts: by
/// shape alone, so the sums are the same for any number of threads.
struct WeightGradientCut {
  static constexpr int64_t kItems = 16, kMaxBytes = 16 << 20;
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

/// out[i] = sum over shards of sums[shard][i], in order.
void merge_shards(const Tensor& sums, int64_t shards, Tensor& out) {
  const int64_t n = out.numel();
  const float* from = sums.data();
  float* to = out.data();
  parallel_for(n, kGrain / shards + 1, [&](Range r) {
    std::copy(from + r.begin, from + r.end, to + r.begin);
    for (int64_t shard = 1; shard < shards; ++shard) {
      const float* row = from + shard * n;
      for (int64_t i = r.begin; i < r.end; ++i) to[i] += row[i];
    }
  });
}

}  // namespace

Tensor conv_forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias,
                    const Shape& y_shape) {
  Tensor y = Tensor::uninit(y_shape);
  if (y.numel() == 0) return y;
  const float* b = bias ? bias.data() : nullptr;
  if (is_depthwise(s)) {
    const Tensor packed = kernels::depthwise_pack(s, w);
    const float *px = x.data(), *pw = packed.data();
    float* py = y.data();
    parallel_for(s.images * s.out_h(), 1, [&](Range r) {
      for (int64_t i = r.begin; i < r.end; ++i) kernels::depthwise_row(s, px, pw, b, i, py);
    });
    return y;
  }
  const int64_t in = s.in / s.groups, out = s.out / s.groups;
  GatherProblem p{s.height,   s.width,           s.in,         s.pad_h,
                  s.pad_w,    s.stride_h,        s.stride_w,   s.kernel_h,
                  s.kernel_w, s.dilation_h,      s.dilation_w, s.out_h(),
                  s.out_w(),  s.out_w() * s.out, s.out,        in};
  Images images{s.images, s.height * s.width * s.in, s.out_h() * s.out_w() * s.out};
  if (is_flat(s)) {
    p.height = p.rows = 1;
    p.width = p.cols = s.images * s.height * s.width;
    images = {1, 0, 0};
  }
  const GatherPlan plan(p, out);
  const int64_t filter = s.kernel_h * s.kernel_w * in;
  const Tensor packed =
      pack(plan, s.groups, {w.data(), s.kernel_w * in, in, 1, filter}, out * filter);
  run(plan, images, x.data(), packed, b, s.groups, out, y.data());
  return y;
}

Tensor conv_data_gradient(const ConvShape& s, const Tensor& dy, const Tensor& w, const Tensor& bias,
                          const Shape& dx_shape) {
  Tensor dx = Tensor::uninit(dx_shape);
  if (dx.numel() == 0) return dx;
  const float* b = bias ? bias.data() : nullptr;
  if (is_depthwise(s)) {
    const Tensor packed = kernels::depthwise_pack(s, w);
    const float *pdy = dy.data(), *pw = packed.data();
    float* pdx = dx.data();
    parallel_for(s.images * s.height, 1, [&](Range r) {
      for (int64_t i = r.begin; i < r.end; ++i)
        kernels::depthwise_data_gradient_row(s, pdy, pw, b, i, pdx);
    });
    return dx;
  }
  for (int64_t a = 0; a < std::min(s.stride_h, s.height); ++a) {
    const Phase v = phase_of(a, s.height, s.kernel_h, s.stride_h, s.pad_h, s.dilation_h);
    for (int64_t c = 0; c < std::min(s.stride_w, s.width); ++c) {
      const Phase h = phase_of(c, s.width, s.kernel_w, s.stride_w, s.pad_w, s.dilation_w);
      data_gradient_phase(s, v, h, (a * s.width + c) * s.in, dy, w, b, dx.data());
    }
  }
  return dx;
}

Tensor conv_weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy,
                            const Shape& dw_shape, Tensor* db) {
  const int64_t n = dw_shape.numel();
  const WeightGradientCut cut(s, std::max<int64_t>(n, 1));
  const bool depthwise = is_depthwise(s);
  const int64_t parts = depthwise ? 1 : cut.parts;
  Tensor dw = Tensor::zeros({cut.shards, n});
  Tensor db_shards = db ? Tensor::zeros({cut.shards, s.out}) : Tensor{};
  const float *px = x.data(), *pdy = dy.data();
  float *pdw = dw.data(), *pdb = db ? db_shards.data() : nullptr;
  const kernels::OuterPlan plan(s);
  parallel_for(cut.shards * parts, 1, [&](Range r) {
    for (int64_t i = r.begin; i < r.end; ++i) {
      const int64_t shard = i / parts, begin = i % parts * cut.part;
      const int64_t first = s.images * shard / cut.shards,
                    last = s.images * (shard + 1) / cut.shards;
      float* shard_db = db ? pdb + shard * s.out : nullptr;
      if (depthwise) {
        kernels::depthwise_weight_gradient(s, px, pdy, first, last, pdw + shard * n, shard_db);
      } else {
        const int64_t end = std::min(begin + cut.part, s.out / s.groups);
        kernels::weight_gradient(plan, px, pdy, first, last, begin, end, pdw + shard * n, shard_db);
      }
    }
  });
  if (db) {
    *db = Tensor::uninit({s.out});
    merge_shards(db_shards, cut.shards, *db);
  }
  if (cut.shards == 1) return dw.view(dw_shape);
  Tensor merged = Tensor::uninit(dw_shape);
  merge_shards(dw, cut.shards, merged);
  return merged;
}

}  // namespace pare
