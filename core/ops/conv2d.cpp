// y[n, i, j, o] = b[o] + sum over r, c, k   w[o, r, c, k] x[n, i s + r d - p, j s + c d - p, k]
// dx            = the transposed sum of dy and w;  dw = the correlation of dy and x;  db = sum of
// dy

#include <algorithm>

#include "core/autograd.h"
#include "core/ops.h"
#include "core/ops/conv_passes.h"
#include "core/ops/show.h"

namespace pare {

namespace {

void check_options(const char* op, const Hw& stride, const Hw& pad, const Hw& dilation,
                   int groups) {
  PARE_CHECK(stride.h > 0 && stride.w > 0, op, ": stride must be > 0, got ", stride.h, "x",
             stride.w);
  PARE_CHECK(pad.h >= 0 && pad.w >= 0, op, ": pad must be >= 0, got ", pad.h, "x", pad.w);
  PARE_CHECK(dilation.h > 0 && dilation.w > 0, op, ": dilation must be > 0, got ", dilation.h, "x",
             dilation.w);
  PARE_CHECK(groups > 0, op, ": groups must be > 0, got ", groups);
}

std::string operands(const Tensor& x, const Tensor& w, const Tensor& b, int groups) {
  return operand("input", x) + operand("weight", w) + (b ? operand("bias", b) : "") +
         (groups > 1 ? str("\n  groups  ", groups) : "");
}

kernels::ConvShape shape_of(int64_t images, int64_t height, int64_t width, int64_t in, int64_t out,
                            const Tensor& w, const Hw& stride, const Hw& pad, const Hw& dilation,
                            int groups) {
  return {.images = images,
          .height = height,
          .width = width,
          .in = in,
          .out = out,
          .kernel_h = w.dim(1),
          .kernel_w = w.dim(2),
          .stride_h = stride.h,
          .stride_w = stride.w,
          .pad_h = pad.h,
          .pad_w = pad.w,
          .dilation_h = dilation.h,
          .dilation_w = dilation.w,
          .groups = groups};
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const ConvOptions& o) {
  check_options("conv2d", o.stride, o.pad, o.dilation, o.groups);
  PARE_CHECK(x.dims() == 4 && w.dims() == 4,
             "conv2d: input must be [N, H, W, in], weight [out, kh, kw, in/groups]",
             operands(x, w, b, o.groups));
  const int64_t in = x.dim(3), out = w.dim(0);
  PARE_CHECK(in % o.groups == 0 && out % o.groups == 0, "conv2d: ", in, " input and ", out,
             " output channels cannot be cut into ", o.groups, " groups",
             operands(x, w, b, o.groups));
  PARE_CHECK(in / o.groups == w.dim(3), "conv2d: input has ", in, " channels, weight expects ",
             w.dim(3) * o.groups, operands(x, w, b, o.groups));
  PARE_CHECK(!b || (b.dims() == 1 && b.dim(0) == out), "conv2d: bias must be [", out, "]",
             operands(x, w, b, o.groups));
  const kernels::ConvShape s =
      shape_of(x.dim(0), x.dim(1), x.dim(2), in, out, w, o.stride, o.pad, o.dilation, o.groups);
  PARE_CHECK(s.height + 2 * s.pad_h >= s.dilation_h * (s.kernel_h - 1) + 1 &&
                 s.width + 2 * s.pad_w >= s.dilation_w * (s.kernel_w - 1) + 1,
             "conv2d: the kernel does not fit into the padded input", operands(x, w, b, o.groups));

  const Tensor y = conv_forward(s, x, w, b, {s.images, s.out_h(), s.out_w(), out}, o.exact);
  return record(
      "conv2d",
      {{"stride", o.stride}, {"pad", o.pad}, {"dilation", o.dilation}, {"groups", o.groups}}, y,
      {x, w, b}, [s, x = x.detach(), w = w.detach()](const Tensor& dy, Needs need) -> Grads {
        Tensor dw, db;
        if (need[1] || need[2])
          dw = conv_weight_gradient(s, x, dy, w.shape(), need[2] ? &db : nullptr);
        return {need[0] ? conv_data_gradient(s, dy, w, {}, x.shape()) : Tensor{}, dw, db};
      });
}

Tensor conv_transpose2d(const Tensor& x, const Tensor& w, const Tensor& b,
                        const ConvTransposeOptions& o) {
  check_options("conv_transpose2d", o.stride, o.pad, o.dilation, o.groups);
  PARE_CHECK(x.dims() == 4 && w.dims() == 4,
             "conv_transpose2d: input must be [N, H, W, in], weight [in, kh, kw, out/groups]",
             operands(x, w, b, o.groups));
  const int64_t in = x.dim(3), out = w.dim(3) * o.groups;
  PARE_CHECK(in == w.dim(0) && in % o.groups == 0, "conv_transpose2d: input has ", in,
             " channels, weight expects ", w.dim(0), operands(x, w, b, o.groups));
  PARE_CHECK(!b || (b.dims() == 1 && b.dim(0) == out), "conv_transpose2d: bias must be [", out, "]",
             operands(x, w, b, o.groups));
  PARE_CHECK(o.output_pad.h >= 0 && o.output_pad.w >= 0 &&
                 o.output_pad.h < std::max(o.stride.h, o.dilation.h) &&
                 o.output_pad.w < std::max(o.stride.w, o.dilation.w),
             "conv_transpose2d: output_pad must be >= 0 and smaller than stride or dilation, got ",
             o.output_pad.h, "x", o.output_pad.w);
  const int64_t height = (x.dim(1) - 1) * o.stride.h - 2 * o.pad.h + o.dilation.h * (w.dim(1) - 1) +
                         o.output_pad.h + 1;
  const int64_t width = (x.dim(2) - 1) * o.stride.w - 2 * o.pad.w + o.dilation.w * (w.dim(2) - 1) +
                        o.output_pad.w + 1;
  PARE_CHECK(height > 0 && width > 0, "conv_transpose2d: the padding leaves no output",
             operands(x, w, b, o.groups));
  // The convolution whose data gradient this is: its input is our output.
  const kernels::ConvShape s =
      shape_of(x.dim(0), height, width, out, in, w, o.stride, o.pad, o.dilation, o.groups);

  const Tensor y = conv_data_gradient(s, x, w, b, {s.images, height, width, out});
  return record("conv_transpose2d",
                {{"stride", o.stride},
                 {"pad", o.pad},
                 {"output_pad", o.output_pad},
                 {"dilation", o.dilation},
                 {"groups", o.groups}},
                y, {x, w, b},
                [s, x = x.detach(), w = w.detach()](const Tensor& dy, Needs need) -> Grads {
                  return {need[0] ? conv_forward(s, dy, w, {}, x.shape()) : Tensor{},
                          need[1] ? conv_weight_gradient(s, dy, x, w.shape(), nullptr) : Tensor{},
                          need[2] ? no_grad([&] {
                            return sum(dy, {0, 1, 2});
                          })
                                  : Tensor{}};
                });
}

}  // namespace pare
