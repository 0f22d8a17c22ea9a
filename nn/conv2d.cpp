#include "nn/conv2d.h"

#include "nn/text.h"

namespace pare::nn {

namespace {

/// What both convolutions ask of their options.
template <class Options>
void check(const char* name, const Options& o) {
  PARE_CHECK(o.in > 0 && o.out > 0, name, ": channels must be positive, got in ", o.in, ", out ",
             o.out);
  PARE_CHECK(o.kernel.h > 0 && o.kernel.w > 0, name, ": kernel must be positive, got ", o.kernel);
  PARE_CHECK(o.stride.h > 0 && o.stride.w > 0, name, ": stride must be positive, got ", o.stride);
  PARE_CHECK(o.dilation.h > 0 && o.dilation.w > 0, name, ": dilation must be positive, got ",
             o.dilation);
  PARE_CHECK(o.pad.h >= 0 && o.pad.w >= 0, name, ": pad must not be negative, got ", o.pad);
  PARE_CHECK(o.groups > 0, name, ": groups must be positive, got ", o.groups);
  PARE_CHECK(o.in % o.groups == 0 && o.out % o.groups == 0, name, ": ", o.in, " -> ", o.out,
             " channels cannot be cut into ", o.groups, " groups",
             hint("both channel counts must be multiples of groups"));
}

template <class Conv>
Description describe_conv(const char* name, const Conv& conv) {
  const auto& o = conv.opt;
  Description d(name);
  d.arg(o.in).arg(o.out).option("kernel", o.kernel);
  d.option("stride", o.stride, Hw(1)).option("pad", o.pad, Hw(0));
  d.option("dilation", o.dilation, Hw(1)).option("groups", o.groups, 1);
  return d.option("bias", o.bias, true);
}

template <class Conv>
void describe_sockets(Description& d, const Conv& conv) {
  if (conv.weight_fn) d.option("weight", conv.weight_fn->describe());
  if (conv.input_fn) d.option("input", conv.input_fn->describe());
}

Tensor make_bias(bool wanted, int64_t out) {
  return wanted ? Tensor::zeros({out}).requires_grad_() : Tensor{};
}

}  // namespace

Conv2d::Conv2d(const Conv2dOptions& options) : opt(options) {
  check("Conv2d", opt);
  weight = Tensor::zeros({opt.out, opt.kernel.h, opt.kernel.w, opt.in / opt.groups});
  weight.requires_grad_();
  bias = make_bias(opt.bias, opt.out);
}

Tensor Conv2d::forward(const Tensor& x) {
  // Quantized values keep the direct sum: exact for integers, and what deployment computes. Their
  // gradients are ordinary numbers.
  const bool exact = weight_fn || input_fn;
  return conv2d(input_fn(x), weight_fn(weight), bias,
                {opt.stride, opt.pad, opt.dilation, opt.groups, exact});
}

std::string Conv2d::describe() const {
  Description d = describe_conv("Conv2d", *this);
  describe_sockets(d, *this);
  return d;
}

ConvTranspose2d::ConvTranspose2d(const ConvTranspose2dOptions& options) : opt(options) {
  check("ConvTranspose2d", opt);
  const auto fits = [](int extra, int stride, int dilation) {
    return extra >= 0 && (extra < stride || extra < dilation);
  };
  PARE_CHECK(fits(opt.output_pad.h, opt.stride.h, opt.dilation.h) &&
                 fits(opt.output_pad.w, opt.stride.w, opt.dilation.w),
             "ConvTranspose2d: output_pad must be smaller than stride or dilation, got ",
             opt.output_pad, " with stride ", opt.stride, ", dilation ", opt.dilation);
  weight = Tensor::zeros({opt.in, opt.kernel.h, opt.kernel.w, opt.out / opt.groups});
  weight.requires_grad_();
  bias = make_bias(opt.bias, opt.out);
}

Tensor ConvTranspose2d::forward(const Tensor& x) {
  return conv_transpose2d(input_fn(x), weight_fn(weight), bias,
                          {opt.stride, opt.pad, opt.output_pad, opt.dilation, opt.groups});
}

std::string ConvTranspose2d::describe() const {
  Description d = describe_conv("ConvTranspose2d", *this);
  d.option("output_pad", opt.output_pad, Hw(0));
  describe_sockets(d, *this);
  return d;
}

}  // namespace pare::nn
