#include "deploy/runtime/ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "deploy/runtime/kernels/tile.h"
#include "deploy/runtime/pooling.h"

namespace pare::runtime {

namespace {

float limited(float t, const Finish& f) {
  t = t > f.min ? t : f.min;  // NaN becomes min
  return t < f.max ? t : f.max;
}

/// What an op sees of its buffers, for a range of elements [begin, end).
struct Piece {
  const Program& program;
  const Op& op;
  const uint8_t* const* x;
  uint8_t* y;
  int64_t begin, end;

  const Buffer& in(size_t i = 0) const {
    return program.buffers[static_cast<size_t>(op.inputs[i])];
  }
  const Buffer& out() const { return program.buffers[static_cast<size_t>(op.output)]; }
  const float* floats(size_t i = 0) const { return reinterpret_cast<const float*>(x[i]); }
  float* to() const { return reinterpret_cast<float*>(y); }
};

void add(const Piece& p) {
  const Finish& f = p.op.finish;
  const Buffer &a = p.in(0), &b = p.in(1);
  if (a.type == Type::f32) {
    kernels::active().add_floats({p.floats(0) + p.begin, p.floats(1) + p.begin, p.end - p.begin,
                                  f.scale[0], f.scale[1], f.min, f.max, p.to() + p.begin});
  } else if (p.out().type == Type::u8) {
    kernels::active().add_codes({p.x[0] + p.begin, p.x[1] + p.begin, p.end - p.begin, f.scale[0],
                                 f.scale[1], a.zero, b.zero, p.out().zero, f.min, f.max,
                                 f.half_away, p.y + p.begin});
  } else {
    for (int64_t i = p.begin; i < p.end; ++i) {
      const float left = static_cast<float>(p.x[0][i] - a.zero) * f.scale[0];
      const float right = static_cast<float>(p.x[1][i] - b.zero) * f.scale[1];
      p.to()[i] = limited(left + right, f);
    }
  }
}

/// f(element, channel), without a division for each.
template <class F>
void for_each_value(const Piece& p, F&& f) {
  const int64_t channels = p.in().c;
  for (int64_t i = p.begin, c = p.begin % channels; i < p.end; ++i) {
    f(i, c);
    if (++c == channels) c = 0;
  }
}

void mul(const Piece& p) {
  for_each_value(p, [&](int64_t i, int64_t c) {
    p.to()[i] = limited(p.floats(0)[i] * p.floats(1)[c], p.op.finish);
  });
}

void affine(const Piece& p) {
  const Finish& f = p.op.finish;
  for_each_value(p, [&](int64_t i, int64_t c) {
    const auto channel = static_cast<size_t>(c);
    p.to()[i] = limited(p.floats()[i] * f.scale[channel] + f.bias[channel], f);
  });
}

void encode(const Piece& p) {
  using How = kernels::Encode::How;
  const Finish& f = p.op.finish;
  kernels::Encode e{};
  e.how = p.op.encoding == Encoding::multiply  ? How::multiply
          : p.op.encoding == Encoding::ternary ? How::ternary
                                               : How::divide;
  e.x = p.floats() + p.begin, e.n = p.end - p.begin, e.y = p.y + p.begin;
  e.scale = f.scale[0], e.steps = f.max, e.min = f.min, e.max = f.max;
  e.zero = p.out().zero, e.half_away = f.half_away;
  if (p.op.encoding == Encoding::divide && f.shift_first) {
    const auto z = static_cast<float>(std::exchange(e.zero, 0));
    e.shift = z, e.min += z, e.max += z;
  }
  kernels::active().encode(e);
}

bool sign_at(const uint8_t* bits, int64_t c) { return bits[c / 8] >> (c % 8) & 1; }

void bits_of(const Piece& p) {
  const int64_t c = p.in().c, bytes = p.out().pixel_bytes();
  for (int64_t pixel = p.begin / c; pixel < p.end / c; ++pixel) {
    uint8_t* to = p.y + pixel * bytes;
    std::memset(to, 0, static_cast<size_t>(bytes));
    kernels::active().signs_of(p.floats() + pixel * c, c, to);
  }
}

/// Code 2 for +1, 0 for -1, eight at a time.
void codes_of_signs(const uint8_t* x, int64_t n, uint8_t* y) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    // Eight copies of a byte, of each the bit that counts; what is not 0 carries into the next bit.
    const uint64_t bits = x[i / 8] * 0x0101010101010101u & 0x8040201008040201u;
    const uint64_t codes = (bits + 0x7f7f7f7f7f7f7f7fu) >> 6 & 0x0202020202020202u;
    std::memcpy(y + i, &codes, 8);
  }
  for (; i < n; ++i) y[i] = sign_at(x, i) ? 2 : 0;
}

void from_bits(const Piece& p) {
  const int64_t c = p.in().c, bytes = p.in().pixel_bytes();
  const bool codes = p.out().type == Type::u8;
  for (int64_t pixel = p.begin / c; pixel < p.end / c; ++pixel) {
    const uint8_t* x = p.x[0] + pixel * bytes;
    if (codes) {
      codes_of_signs(x, c, p.y + pixel * c);
    } else {
      for (int64_t i = 0; i < c; ++i) p.to()[pixel * c + i] = sign_at(x, i) ? 1.0f : -1.0f;
    }
  }
}

void convert(const Piece& p) {
  const Buffer &in = p.in(), &out = p.out();
  if (in.type == Type::bits) return from_bits(p);
  if (out.type == Type::bits) return bits_of(p);
  if (out.type == Type::u8) return encode(p);
  if (in.type == Type::f32) {
    std::copy(p.floats() + p.begin, p.floats() + p.end, p.to() + p.begin);
    return;
  }
  for (int64_t i = p.begin; i < p.end; ++i) {
    p.to()[i] = static_cast<float>(p.x[0][i] - in.zero) * in.scale;
  }
}

float value_of(const Op& op, float x) {
  switch (op.function) {
    case Function::leaky_relu:
      return x > 0 ? x : x * op.finish.scale[0];
    case Function::hard_swish:
      return x * std::min(std::max(x + 3.0f, 0.0f), 6.0f) / 6.0f;
    case Function::silu:
      return x / (1.0f + std::exp(-x));
    case Function::sigmoid:
      return 1.0f / (1.0f + std::exp(-x));
    case Function::tanh:
      return std::tanh(x);
  }
  return x;
}

void function(const Piece& p) {
  for (int64_t i = p.begin; i < p.end; ++i) p.to()[i] = value_of(p.op, p.floats()[i]);
}

// What only moves values, whole pixels of a row at a time.

void concat(const Piece& p) {
  const int64_t element = p.out().type == Type::f32 ? 4 : 1, whole = p.out().pixel_bytes();
  for (int64_t pixel = p.begin / p.out().c; pixel < p.end / p.out().c; ++pixel) {
    uint8_t* to = p.y + pixel * whole;
    for (size_t i = 0; i < p.op.inputs.size(); ++i) {
      const int64_t bytes = p.in(i).c * element;
      to = std::copy_n(p.x[i] + pixel * bytes, bytes, to);
    }
  }
}

void pad(const Piece& p) {
  const int64_t element = p.out().type == Type::f32 ? 4 : 1;
  const int64_t from = p.in().pixel_bytes(), to = p.out().pixel_bytes();
  const int nothing = p.out().type == Type::u8 ? p.out().zero : 0;
  for (int64_t pixel = p.begin / p.out().c; pixel < p.end / p.out().c; ++pixel) {
    uint8_t* y = p.y + pixel * to;
    std::memset(y, nothing, static_cast<size_t>(to));
    std::copy_n(p.x[0] + pixel * from, from, y + p.op.pad_before * element);
  }
}

/// y_2i = x_i, y_2i+1 = x_i+n: the two halves in turn.
template <class T>
void interleave(const T* x, int64_t n, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    y[2 * i] = x[i];
    y[2 * i + 1] = x[n + i];
  }
}

/// The bits of a word with a 0 behind each.
uint64_t spread(uint64_t x) {
  x = (x | x << 16) & 0x0000ffff0000ffffu;
  x = (x | x << 8) & 0x00ff00ff00ff00ffu;
  x = (x | x << 4) & 0x0f0f0f0f0f0f0f0fu;
  x = (x | x << 2) & 0x3333333333333333u;
  return (x | x << 1) & 0x5555555555555555u;
}

void interleave_signs(const uint32_t* x, int64_t words, uint32_t* y) {
  for (int64_t i = 0; i < words; ++i) {
    const uint64_t both = spread(x[i]) | spread(x[words + i]) << 1;
    std::memcpy(y + 2 * i, &both, 8);
  }
}

/// Channel g k + j goes to j groups + g: for 2^m groups that is what interleaving two halves does,
/// m times. n: numbers of a pixel.
template <class T, class Interleave>
void shuffle_by_halves(const Piece& p, int64_t n, Interleave&& halves) {
  std::vector<T> a(static_cast<size_t>(n)), b(a.size());
  const int64_t c = p.in().c;
  for (int64_t pixel = p.begin / c; pixel < p.end / c; ++pixel) {
    std::copy_n(reinterpret_cast<const T*>(p.x[0]) + pixel * n, n, a.data());
    for (int64_t done = 1; done < p.op.groups; done *= 2, std::swap(a, b)) {
      halves(a.data(), n / 2, b.data());
    }
    std::copy_n(a.data(), n, reinterpret_cast<T*>(p.y) + pixel * n);
  }
}

void shuffle_one_by_one(const Piece& p) {
  const int64_t c = p.in().c, groups = p.op.groups, each = c / groups;
  const int64_t bytes = p.in().pixel_bytes();
  for (int64_t pixel = p.begin / c; pixel < p.end / c; ++pixel) {
    const uint8_t* x = p.x[0] + pixel * bytes;
    uint8_t* y = p.y + pixel * bytes;
    if (p.in().type == Type::bits) std::memset(y, 0, static_cast<size_t>(bytes));
    for (int64_t from = 0; from < c; ++from) {
      const int64_t to = from % each * groups + from / each;
      if (p.in().type == Type::f32) {
        std::memcpy(y + to * 4, x + from * 4, 4);
      } else if (p.in().type == Type::u8) {
        y[to] = x[from];
      } else {
        y[to / 8] = static_cast<uint8_t>(y[to / 8] | sign_at(x, from) << (to % 8));
      }
    }
  }
}

void shuffle(const Piece& p) {
  const int64_t c = p.in().c, groups = p.op.groups;
  const bool halves = (groups & (groups - 1)) == 0;
  if (halves && p.in().type == Type::f32) {
    shuffle_by_halves<float>(p, c, interleave<float>);
  } else if (halves && p.in().type == Type::u8) {
    shuffle_by_halves<uint8_t>(p, c, interleave<uint8_t>);
  } else if (halves && c % 64 == 0) {
    shuffle_by_halves<uint32_t>(p, c / 32, interleave_signs);
  } else {
    shuffle_one_by_one(p);
  }
}

void flatten(const Piece& p) {
  const int64_t c = p.in().c, pixels = p.in().pixels();
  if (pixels == 1) return static_cast<void>(std::copy_n(p.x[0], p.in().bytes(), p.y));
  for (int64_t i = 0; i < c; ++i) {
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      if (p.in().type == Type::f32) {
        p.to()[i * pixels + pixel] = p.floats()[pixel * c + i];
      } else {
        p.y[i * pixels + pixel] = p.x[0][pixel * c + i];
      }
    }
  }
}

}  // namespace

int64_t op_units(const Program& program, const Op& op) {
  const Buffer& out = program.buffers[static_cast<size_t>(op.output)];
  // Rows are worth a thread from some thousand values on.
  const bool whole = op.kind == OpKind::flatten || out.h < 8 || out.numel() < 8192;
  return whole ? 1 : out.h / 4;
}

void run_op(const Program& program, const Op& op, int64_t unit, const uint8_t* const* x,
            uint8_t* y) {
  const Buffer& out = program.buffers[static_cast<size_t>(op.output)];
  const int64_t units = op_units(program, op);
  const int64_t r0 = out.h * unit / units, r1 = out.h * (unit + 1) / units;
  const int64_t row = int64_t{out.w} * out.c;
  if (op.kind == OpKind::max_pool || op.kind == OpKind::avg_pool) {
    return run_pool(program, op, r0, r1, x[0], y);
  }
  const Piece p{program, op, x, y, r0 * row, r1 * row};
  switch (op.kind) {
    case OpKind::add:
      return add(p);
    case OpKind::mul:
      return mul(p);
    case OpKind::affine:
      return affine(p);
    case OpKind::convert:
      return convert(p);
    case OpKind::function:
      return function(p);
    case OpKind::concat:
      return concat(p);
    case OpKind::pad:
      return pad(p);
    case OpKind::shuffle:
      return shuffle(p);
    default:
      return flatten(p);
  }
}

}  // namespace pare::runtime
