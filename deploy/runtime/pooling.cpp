#include "deploy/runtime/pooling.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "deploy/runtime/kernels/tile.h"

namespace pare::runtime {

namespace {

/// The part of a window that is inside of the image.
struct Inside {
  int64_t i0, i1, j0, j1;
  int64_t count() const { return (i1 - i0) * (j1 - j0); }
};

Inside inside_of(const Window& w, const Buffer& in, int64_t r, int64_t c) {
  const int64_t i = r * w.sh - w.ph, j = c * w.sw - w.pw;
  return {std::max<int64_t>(i, 0), std::min<int64_t>(i + w.kh, in.h), std::max<int64_t>(j, 0),
          std::min<int64_t>(j + w.kw, in.w)};
}

/// y = what `better` makes of all pixels of a window, a row of them at a time.
template <class T, class Better>
void reduce(const Inside& at, const T* x, int64_t width, int64_t n, T* __restrict y,
            Better&& better) {
  const T* first = x + (at.i0 * width + at.j0) * n;
  std::copy(first, first + n, y);
  for (int64_t i = at.i0; i < at.i1; ++i) {
    const T* from = x + (i * width + at.j0) * n;
    const T* const end = from + (at.j1 - at.j0) * n;
    for (; from + 2 * n < end; from += 3 * n) {
      for (int64_t c = 0; c < n; ++c) {
        y[c] = better(better(y[c], from[c]), better(from[n + c], from[2 * n + c]));
      }
    }
    for (; from < end; from += n) {
      for (int64_t c = 0; c < n; ++c) y[c] = better(y[c], from[c]);
    }
  }
}

void max_pixel(const Inside& at, const Buffer& in, const uint8_t* x, uint8_t* y) {
  const auto larger = [](auto a, auto b) { return a > b ? a : b; };
  if (in.type == Type::u8) return reduce(at, x, in.w, in.c, y, larger);
  if (in.type == Type::f32) {
    return reduce(at, reinterpret_cast<const float*>(x), in.w, in.c, reinterpret_cast<float*>(y),
                  larger);
  }
  // The largest of signs is +1 where there is one.
  reduce(at, reinterpret_cast<const uint32_t*>(x), in.w, in.pixel_bytes() / 4,
         reinterpret_cast<uint32_t*>(y), [](uint32_t a, uint32_t b) { return a | b; });
}

/// Sums in the order of the window, counted from the zero point.
template <class In, class Sum>
void sum_pixel(const Inside& at, const Buffer& in, const In* x, Sum zero, Sum* sum) {
  std::fill(sum, sum + in.c, Sum{0});
  for (int64_t i = at.i0; i < at.i1; ++i) {
    for (int64_t j = at.j0; j < at.j1; ++j) {
      const In* from = x + (i * in.w + j) * in.c;
      for (int64_t c = 0; c < in.c; ++c) sum[c] += from[c] - zero;
    }
  }
}

struct Average {
  const Op& op;
  const Buffer &in, &out;
  std::vector<int32_t> sums;
  std::vector<float> float_sums, scale, bias;

  Average(const Op& o, const Buffer& from, const Buffer& to)
      : op(o),
        in(from),
        out(to),
        sums(static_cast<size_t>(from.c)),
        float_sums(sums.size()),
        scale(sums.size()),
        bias(sums.size()) {}

  void pixel(const Inside& at, const uint8_t* x, uint8_t* y) {
    const kernels::Kernels& k = kernels::active();
    const int64_t all = int64_t{op.window.kh} * op.window.kw;
    const auto count = static_cast<float>(op.window.count_pad ? all : at.count());
    std::fill(scale.begin(), scale.end(), op.finish.scale[0] / count);
    const bool codes = in.type == Type::u8;
    if (codes) {
      sum_pixel(at, in, x, in.zero, sums.data());
    } else {
      sum_pixel(at, in, reinterpret_cast<const float*>(x), 0.0f, float_sums.data());
    }
    const void* raw = codes ? static_cast<const void*>(sums.data()) : float_sums.data();
    const kernels::FinishTile f{raw,
                                in.c,
                                1,
                                in.c,
                                scale.data(),
                                bias.data(),
                                op.finish.min,
                                op.finish.max,
                                out.zero,
                                op.finish.half_away,
                                y,
                                out.c};
    (!codes ? k.float_to_float : out.type == Type::f32 ? k.int_to_float : k.int_to_code)(f);
  }
};

}  // namespace

void run_pool(const Program& program, const Op& op, int64_t r0, int64_t r1, const uint8_t* x,
              uint8_t* y) {
  const Buffer& in = program.buffers[static_cast<size_t>(op.inputs[0])];
  const Buffer& out = program.buffers[static_cast<size_t>(op.output)];
  Average average(op, in, out);
  for (int64_t r = r0; r < r1; ++r) {
    for (int64_t c = 0; c < out.w; ++c) {
      uint8_t* to = y + (r * out.w + c) * out.pixel_bytes();
      const Inside at = inside_of(op.window, in, r, c);
      if (op.kind == OpKind::max_pool) {
        max_pixel(at, in, x, to);
      } else {
        average.pixel(at, x, to);
      }
    }
  }
}

}  // namespace pare::runtime
